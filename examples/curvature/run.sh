#!/bin/sh
# The runs of this folder. Usage: RASHOMON_DATA=FOLDER sh run.sh, in the folder that shall hold the store; that of
# examples/cifar10 may be copied there first, since a, b, bridge and probes are its.
# FOLDER has cifar10/train/CLASS/*.jpg, cifar10/test/CLASS/*.jpg and mnist. Stop it at any time, the same call goes on.
set -eu
rashomon train --seed 1 --name a
rashomon train --seed 2 --name b
rashomon connect a b --bend 1 --name bridge
rashomon probe bridge --points 5 --name probes
rashomon probe bridge --points 5 --what top,trace --samples 512 --name bridge-spectrum
rashomon plot bridge-spectrum -q
fitted="--data cifar10(train=10000) --augment none --epochs 25 --eval-samples 1000"
rashomon train $fitted --seed 1 --name fit-a
rashomon train $fitted --seed 2 --name fit-b
rashomon connect fit-a fit-b --bend 1 --epochs 12 --points 11 --name fit-path
rashomon probe fit-path --points 3 --what hvp,top,trace --samples 512 --hvp-samples 2048 --hvp-eigenvalue-samples 0 --name fit-spectrum
narrow="--model preresnet20(width=4) --data cifar10(train=5000) --augment none --epochs 50 --eval-samples 1000"
rashomon train $narrow --seed 1 --name narrow-a
rashomon train $narrow --seed 2 --name narrow-b
rashomon connect narrow-a narrow-b --bend 1 --epochs 90 --name narrow-path-long
quadrature="--what dimension --dimension-routes quadrature --dimension-steps 40"
rashomon probe narrow-path-long --points 5 $quadrature --samples 5000 --dimension-probes 3 --name narrow-dimension
rashomon probe narrow-path-long@0.5 --what reach,flat --reach-samples 2000 --reach-matrix-samples 1000 --reach-near-null 3 --reach-degree 60 \
    --flat-samples 500 --flat-near-null 4 --flat-degree 60 --flat-steps 60 --flat-ood mnist --name narrow-flat
rashomon probe narrow-path-long@0.5 --what density --samples 5000 --density-probes 2 --density-steps 40 --name narrow-density
child="--model preresnet20(width=4) --data cifar10(train=5000) --augment none --eval-samples 1000 --init narrow-a --lr 0.02 --epochs 30"
rashomon train $child --seed 11 --name ridge-a
rashomon train $child --seed 12 --name ridge-b
rashomon connect ridge-a ridge-b --bend 1 --epochs 30 --name ridge
rashomon probe ridge --points 3 $quadrature --samples 5000 --dimension-probes 3 --name ridge-dimension
rashomon plot narrow-dimension -q
rashomon plot ridge-dimension -q
rashomon plot narrow-flat -q
rashomon probe bridge@0.5 --what dimension --samples 512 --dimension-routes gram,quadrature --dimension-memory 8 --dimension-probes 3 --dimension-steps 50 --name middle-512
rashomon probe bridge@0.5 $quadrature --samples 2048 --dimension-probes 2 --name middle-2048
rashomon plot middle-512 -q
