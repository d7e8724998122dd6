"""Many rows: 65,536 in one call, against one `session.run`, PyTorch, torch.compile and OpenVINO, all cores each.

    python benchmarks/bulk.py

Each contestant in its own process, taking turns. `share_of_peak`: of the machine's float32 matrix-product peak,
measured before and after, counting matrix products alone. `possible`: how many times faster than one `session.run`
a program would be that did nothing but these products, at the peak.
"""

import tempfile
from pathlib import Path

import numpy as np
from common import parser, save
from competing import compete, contestants_on, figures
from models import NAMES, make

from aetool.bench._machine import ceiling
from aetool.bench.contestants import Load
from aetool.runtime.machine import usable_cores

PEERS = ("raw-onnxruntime", "torch", "torch-compile", "openvino")
GRAPHS = ("encode", "reconstruct", "score")


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--rows", type=int, default=65_536)
    arguments.add_argument("--rounds", type=int, default=6, help="turns in each of two launches")
    options = arguments.parse_args()
    load = Load(batch=options.rows, seconds=0.5, calls=4)
    results, limits = {}, ceiling()
    with tempfile.TemporaryDirectory() as folder:
        for name in NAMES:
            model = make(name, Path(folder))
            rows = np.resize(model.rows, (options.rows + 4096, model.rows.shape[1]))
            found = {}
            for graph in GRAPHS:
                entrants = contestants_on(model, graph, PEERS, threads=usable_cores())
                found[graph] = figures(compete(entrants, rows, load, rounds=options.rounds, graph=graph))
                limits = limits.or_better(ceiling())
                print(f"{name:10} {graph:12} {found[graph]['aetool']['rows_per_s']:12,.0f} rows/s", end="")
                for peer in PEERS:
                    print(f"  {found[graph][peer]['to_it']['throughput']:.2f}x {peer}", end="")
                print()
            results[name] = found
            for graph, operations in model.multiply_adds.items():
                gflops = 2e-9 * operations * found[graph]["aetool"]["rows_per_s"]
                found[graph]["gflops"] = gflops
    peak = max(limits.matmul_gflops.values())
    for name, found in results.items():
        for graph in GRAPHS:
            share = found[graph]["share_of_peak"] = found[graph]["gflops"] / peak
            possible = found[graph]["possible"] = found[graph]["raw-onnxruntime"]["to_it"]["throughput"] / share
            print(
                f"{name:10} {graph:12} {share:.0%} of {peak:.0f} GFLOP/s; at the peak {possible:.2f}x session.run"
            )
    save("bulk", vars(options), {**results, "matmul_gflops": limits.matmul_gflops, "copy": limits.copy_gb_per_s})


if __name__ == "__main__":
    main()
