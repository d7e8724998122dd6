"""The command line: parse, call one library function, print.

Read `main` first (errors to exit codes), then `_output` (what is printed, `--json`), `_progress` (steps on a
terminal, `--quiet`), `_options` (shared options) and one of `commands`, with `show` for how its result is
printed. `_paths` and `_tables` check and read inputs before any work, `_config_file` reads options from TOML,
and `_next_steps` makes the suggestions of `aetool` alone. No other room uses anything but `main`.
"""

from aetool.cli.commands.adopt import adopt
from aetool.cli.commands.agent import agent
from aetool.cli.commands.bench import bench
from aetool.cli.commands.calibrate import calibrate
from aetool.cli.commands.compare import compare
from aetool.cli.commands.compression import compression
from aetool.cli.commands.demo import demo
from aetool.cli.commands.deploy import deploy
from aetool.cli.commands.drift import drift
from aetool.cli.commands.evaluate import evaluate
from aetool.cli.commands.export import export
from aetool.cli.commands.feedback import feedback
from aetool.cli.commands.infer import encode, reconstruct, score
from aetool.cli.commands.info import doctor, info
from aetool.cli.commands.init import init
from aetool.cli.commands.quantize import quantize
from aetool.cli.commands.release import release
from aetool.cli.commands.report import report
from aetool.cli.commands.segment import segment
from aetool.cli.commands.serve import serve
from aetool.cli.commands.sign import keygen, sign
from aetool.cli.commands.train import train
from aetool.cli.commands.tune import tune
from aetool.cli.commands.verify import verify
from aetool.cli.commands.watch import watch
from aetool.cli.main import AetoolGroup, root

main: AetoolGroup = root
main.add_section("Make", demo, init, train, export, adopt)
main.add_section("Check", verify, evaluate, compression, drift, info, doctor)
main.add_section("Use", encode, reconstruct, score, segment, serve, watch)
main.add_section("Decide", calibrate, compare, feedback)
main.add_section("Faster", quantize, tune, bench)
main.add_section("Ship", deploy, report, keygen, sign)
main.add_section("Operate", release, agent)


__all__ = ["main"]
