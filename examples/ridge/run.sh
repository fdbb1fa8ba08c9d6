#!/bin/sh
# The runs of this folder. Usage: RASHOMON_DATA=FOLDER sh run.sh, in the folder that shall hold the store; that of
# examples/cifar10 may be copied there first, since a, b and bridge are its.
# FOLDER has cifar10/train/CLASS/*.jpg and cifar10/test/CLASS/*.jpg. Stop it at any time, the same call goes on.
set -eu
rashomon train --seed 1 --name a
rashomon train --seed 2 --name b
rashomon train --seed 3 --name c
rashomon connect a b --bend 1 --name bridge
rashomon align a b --method activations --name b-on-a-activations
rashomon connect a b --bend 3 --name bridge3
rashomon connect a b --kind polyline --name poly
rashomon plot b-on-a-activations -q
rashomon plot bridge bridge3 poly -q
