"""The command line: parse, call one library function, print."""

from aetool.cli.adopt import adopt
from aetool.cli.bench import bench, compare
from aetool.cli.bench_serve import bench_serve
from aetool.cli.demo import demo
from aetool.cli.deploy import deploy
from aetool.cli.drift import drift
from aetool.cli.evaluate import evaluate
from aetool.cli.export import export
from aetool.cli.group import AetoolGroup, root
from aetool.cli.infer import encode, reconstruct, score
from aetool.cli.info import doctor, info
from aetool.cli.init import init
from aetool.cli.quantize import quantize
from aetool.cli.report import report
from aetool.cli.segment import segment
from aetool.cli.serve import serve
from aetool.cli.sign import keygen, sign
from aetool.cli.train import train
from aetool.cli.tune import tune
from aetool.cli.verify import verify

main: AetoolGroup = root
for command in (
    init,
    train,
    export,
    adopt,
    verify,
    encode,
    reconstruct,
    score,
    evaluate,
    quantize,
    tune,
    serve,
    segment,
    drift,
    bench,
    compare,
    bench_serve,
    report,
    keygen,
    sign,
    deploy,
    info,
    doctor,
    demo,
):
    main.add_command(command)
