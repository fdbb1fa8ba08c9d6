#!/bin/sh
# The runs of this folder. Usage: RASHOMON_DATA=FOLDER sh run.sh, in the folder that shall hold the store; that of
# examples/cifar10 may be copied there first, since a, b and bridge are its.
# FOLDER has cifar10/train/CLASS/*.jpg, cifar10/test/CLASS/*.jpg and mnist. Stop it at any time, the same call goes on.
set -eu
rashomon train --seed 1 --name a
rashomon train --seed 2 --name b
rashomon train --seed 3 --name c
rashomon connect a b --bend 1 --name bridge
rashomon align a b --name b-on-a-activations
rashomon align a b --method weights --name b-on-a-weights
rashomon connect a b --bend 3 --name bridge3
rashomon connect a b --kind polyline --name poly
rashomon connect a b --align --name bridge-aligned
rashomon connect a b c --star --name hub
rashomon connect --graph a b c --name joined
rashomon probe bridge --what ensemble --ensemble-k 5 --name ensemble
rashomon probe bridge-aligned --what ensemble --ensemble-k 5 --ensemble-against a,b --name ensemble-aligned
rashomon probe bridge --what machinery --machinery-ood mnist --points 21 --name machinery
rashomon probe bridge-aligned --what machinery --machinery-ood mnist --points 21 --name machinery-aligned
rashomon probe bridge --what width --width-random 4 --width-samples 256 --name width
rashomon plot b-on-a-activations -q
rashomon plot bridge bridge3 poly bridge-aligned -q
for name in hub joined ensemble-aligned machinery machinery-aligned width; do rashomon plot $name -q; done
