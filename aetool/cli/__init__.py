"""The command line: parse, call one library function, print."""

from aetool.cli.demo import demo
from aetool.cli.evaluate import evaluate
from aetool.cli.export import export, verify
from aetool.cli.group import AetoolGroup, root
from aetool.cli.infer import encode, reconstruct, score
from aetool.cli.info import doctor, info
from aetool.cli.train import train

main: AetoolGroup = root
for command in (train, export, verify, encode, reconstruct, score, evaluate, info, doctor, demo):
    main.add_command(command)
