module github.com/ofctl-lab/ofctl-lab/bench/peers/ofnet

go 1.26

require (
	github.com/Sirupsen/logrus v0.8.8-0.20160119000032-f7f79f729e0f
	github.com/contiv/libOpenflow v0.0.0-20200107061746-e3817550c83b
	github.com/contiv/ofnet v0.0.0-20180104211757-c080e5b6e9be
)

require github.com/streamrail/concurrent-map v0.0.0-20160823150647-8bf1e9bacbf6 // indirect
