#!/bin/sh
# The runs of this folder. Usage: RASHOMON_DATA=FOLDER sh run.sh, in the folder that shall hold the store.
# FOLDER has cifar10/train/CLASS/*.jpg, cifar10/test/CLASS/*.jpg and mnist/*-ubyte.gz.
# About an hour and a half on two cores; stop it at any time, the same call goes on.
set -eu
rashomon train --seed 1 --name a
rashomon train --seed 2 --name b
rashomon connect a b --bend 1 --name bridge
rashomon probe bridge --points 5 --name probes
rashomon prune a --l1 1e-4 --thr 0.05 --name a-pruned
rashomon prune b --l1 1e-4 --thr 0.05 --name b-pruned
rashomon prune a --l1 1e-4 --thr 0.02 --name a-thr02   # the same L1 training, another cut
rashomon prune b --l1 1e-4 --thr 0.02 --name b-thr02
rashomon compare a b a-pruned b-pruned --ood mnist --name similar
rashomon compare --ood mnist --name six
for run in a b bridge probes a-pruned b-pruned similar six; do rashomon plot "$run" -q; done
