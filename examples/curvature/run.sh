#!/bin/sh
# The runs of this folder. Usage: RASHOMON_DATA=FOLDER sh run.sh, in the folder that shall hold the store; that of
# examples/cifar10 may be copied there first, since a, b and bridge are its.
# FOLDER has cifar10/train/CLASS/*.jpg and cifar10/test/CLASS/*.jpg. Stop it at any time, the same call goes on.
set -eu
rashomon train --seed 1 --name a
rashomon train --seed 2 --name b
rashomon connect a b --bend 1 --name bridge
rashomon probe bridge --points 5 --what top,trace --samples 512 --name bridge-spectrum
rashomon plot bridge-spectrum -q
narrow="--model preresnet20(width=4) --data cifar10(train=5000) --augment none --epochs 50 --eval-samples 1000"
rashomon train $narrow --seed 1 --name narrow-a
rashomon train $narrow --seed 2 --name narrow-b
rashomon connect narrow-a narrow-b --bend 1 --epochs 90 --name narrow-path-long
fitted="--data cifar10(train=10000) --augment none --epochs 25 --eval-samples 1000"
rashomon train $fitted --seed 1 --name fit-a
rashomon train $fitted --seed 2 --name fit-b
rashomon connect fit-a fit-b --bend 1 --epochs 12 --points 11 --name fit-path
