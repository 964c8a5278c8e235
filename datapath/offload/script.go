package offload

// The names of the scratch datapath's two ports in the script.
const (
	portOne = "one"
	portTwo = "two"
)

// kinds are the datapath types that can be tried, with the options that keep
// ovs-vswitchd from the other one.
var kinds = map[string]string{"system": "", "netdev": "--disable-system"}

// script makes the scratch datapath: an Open vSwitch of its own, with one bridge that
// is a plain learning switch. Its arguments are the type and ovs-vswitchd's options.
// It tells when the network namespace can be furnished, waits for a line, adds the
// ports, and lives until it is killed or its input is closed. Nothing of it reaches the
// host: the run directory is a mount in the script's own mount namespace.
const script = `set -e
mount --make-rprivate /
mount -t tmpfs none /run
mkdir /run/trial
export OVS_RUNDIR=/run/trial OVS_DBDIR=/run/trial OVS_LOGDIR=/run/trial OVS_SYSCONFDIR=/run/trial
ovsdb-tool create /run/trial/conf.db >/dev/null
ovsdb-server --detach --no-chdir --pidfile --log-file -vconsole:off --remote=punix:/run/trial/db.sock /run/trial/conf.db
ovs-vsctl --no-wait init
ovs-vswitchd --detach --no-chdir --pidfile --log-file -vconsole:off $2 unix:/run/trial/db.sock
echo prepared
read -r _
ovs-vsctl --timeout=20 add-br trial -- set bridge trial datapath_type=$1 fail_mode=standalone -- add-port trial one -- add-port trial two
echo wired
read -r _
`
