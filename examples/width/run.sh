#!/bin/sh
# The runs of this folder. Usage: RASHOMON_DATA=FOLDER sh run.sh, in the folder that shall hold the store; FOLDER has
# cifar10/train/CLASS/*.jpg and cifar10/test/CLASS/*.jpg. Stop it at any time, the same call goes on.
set -eu
rashomon sweep --model 'mlp(width=64)' --data digits --widths 1/8,1/4,1/2,1,2,4 --pairs 5 --epochs 20 --connect-epochs 10 --augment none --name width-mlp
rashomon sweep --model preresnet8 --data 'cifar10(train=10000)' --widths 1/4,1/2,1,2 --pairs 3 --name width-preresnet8
rashomon plot width-mlp -q
rashomon plot width-preresnet8 -q
