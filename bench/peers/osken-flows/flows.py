"""An os-ken application that programs flows into the first bridge that connects and says
how long it took. It is a yardstick for the benchmarks and nothing else; see README.md.

    OSKEN_FLOWS=10000 osken-manager --default-log-level 30 --ofp-listen-host 127.0.0.1 --ofp-tcp-listen-port 6653 flows.py

It writes one line of JSON to standard output and ends.
"""

import json
import os
import resource
import time

from os_ken.base import app_manager
from os_ken.controller import ofp_event
from os_ken.controller.handler import CONFIG_DISPATCHER, MAIN_DISPATCHER, set_ev_cls
from os_ken.lib import hub
from os_ken.ofproto import ofproto_v1_3

# The shape of a flow; package bench/workload of the main module sends the same one.
FLOW_TABLE = 30
FLOW_PRIORITY = 100
FLOWS_PER_NETWORK = 100
FIRST_KEY = 1000001


def mac(first, number):
    """A locally administered address with that first byte and number."""
    return "%02x:00:%02x:%02x:%02x:%02x" % ((first,) + tuple(number.to_bytes(4, "big")))


def ipv4(number):
    """Address number of 10.0.0.0/8."""
    return "10.%d.%d.%d" % tuple(number.to_bytes(3, "big"))


def cpu_seconds():
    """User and system time this process has used."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def pss_bytes():
    """Proportional set size of this process (proc(5), smaps_rollup)."""
    with open("/proc/self/smaps_rollup", encoding="ascii") as rollup:
        for line in rollup:
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    raise RuntimeError("smaps_rollup has no line Pss")


class Flows(app_manager.OSKenApp):
    """Sends OSKEN_FLOWS flow-mods and a barrier to the first bridge."""

    OFP_VERSIONS = [ofproto_v1_3.OFP_VERSION]

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.flows = int(os.environ["OSKEN_FLOWS"])
        self.started = None  # when the bridge connected, and the CPU time used until then

    # With the features reply os-ken takes a bridge for connected.
    @set_ev_cls(ofp_event.EventOFPSwitchFeatures, CONFIG_DISPATCHER)
    def connected(self, event):
        if self.started is None:
            self.started = time.monotonic(), cpu_seconds()
            # Not here: the handler runs in the only loop that takes this application's events.
            hub.spawn(self.program, event.msg.datapath)

    def program(self, datapath):
        for number in range(self.flows):
            datapath.send_msg(self.flow_mod(datapath, number))
        datapath.send_msg(datapath.ofproto_parser.OFPBarrierRequest(datapath))

    @staticmethod
    def flow_mod(datapath, number):
        parser, ofproto = datapath.ofproto_parser, datapath.ofproto
        network = number // FLOWS_PER_NETWORK
        match = parser.OFPMatch(
            metadata=network + 1,
            eth_dst=mac(0x02, number),
            eth_type=0x0800,
            ip_proto=6,
            ipv4_dst=ipv4(number),
        )
        actions = [
            parser.OFPActionSetField(eth_src=mac(0x0A, 0)),
            parser.OFPActionSetField(eth_dst=mac(0x06, number)),
            parser.OFPActionSetField(tunnel_id=FIRST_KEY + network),
            parser.OFPActionOutput(1, 0),
        ]
        return parser.OFPFlowMod(
            datapath,
            cookie=number + 1,
            table_id=FLOW_TABLE,
            priority=FLOW_PRIORITY,
            match=match,
            instructions=[parser.OFPInstructionActions(ofproto.OFPIT_APPLY_ACTIONS, actions)],
        )

    @set_ev_cls(ofp_event.EventOFPBarrierReply, MAIN_DISPATCHER)
    def done(self, _event):
        start, cpu = self.started
        result = {
            "flows": self.flows,
            "seconds": time.monotonic() - start,
            "cpu_seconds": cpu_seconds() - cpu,
            "pss_bytes": pss_bytes(),
        }
        print(json.dumps(result), flush=True)
        # osken-manager waits for its applications for ever; there is nothing to tidy up.
        os._exit(0)

    @set_ev_cls(ofp_event.EventOFPErrorMsg, [CONFIG_DISPATCHER, MAIN_DISPATCHER])
    def refused(self, event):
        self.logger.error("the bridge refused a message: type %d, code %d", event.msg.type, event.msg.code)
        os._exit(1)
