#!/bin/sh
# The whole chain on data that come with scikit-learn: no network, a few minutes on two cores.
# Usage: sh examples/demo.sh [FOLDER]   (a second call finds everything done)
set -eu
folder=${1:-demo}
mkdir -p "$folder"
cd "$folder"

say() { printf '\n$ %s\n' "$*"; "$@"; }

say rashomon train --model smallcnn --data digits --seed 1 --name a
say rashomon train --model smallcnn --data digits --seed 2 --name b
say rashomon connect a b --bend 1 --name bridge
say rashomon probe bridge --points 5 --name probes
say rashomon prune a --l1 1e-4 --thr 0.05 --name a-pruned
say rashomon prune b --l1 1e-4 --thr 0.05 --name b-pruned
say rashomon compare a b a-pruned b-pruned --ood photos --name similar
for run in a bridge probes a-pruned similar; do rashomon plot "$run" -q > /dev/null; done

printf '\nWhat it found\n\n'
rashomon ls
printf '\nPictures in %s:\n' "$(pwd)"
ls ./*.png
