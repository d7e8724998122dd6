"""One row: aetool's public methods against bare onnxruntime, PyTorch and OpenVINO, and against each other.

    python benchmarks/one_row.py

Beside them tract, LiteRT and ExecuTorch where they are installed (edge_peers.py); a line on stderr names those
that are not.

Single-stream: the next row when the last is answered, real rows in turn, 1 row a call, each contestant in its own
process. `alone`: the encoder and the detector against the full reconstruction, all three through aetool.
"""

import tempfile
from pathlib import Path

import edge_peers
from common import parser, save
from competing import compete, contestants_on, figures
from models import NAMES, make

from aetool.bench.contestants import Contestant, Load
from aetool.bench.grid import Setting
from aetool.bundle.bundle import Bundle

PEERS = ("raw-onnxruntime", "torch", "openvino")
GRAPHS = ("encode", "reconstruct", "score")


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--rounds", type=int, default=10, help="turns in each of two launches")
    arguments.add_argument("--seconds", type=float, default=0.5, help="of a turn")
    options = arguments.parse_args()
    load = Load(batch=1, seconds=options.seconds, calls=700)
    small = edge_peers.installed()
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in NAMES:
            model = make(name, Path(folder))
            bundle = Bundle.open(model.bundle)
            found = {}
            for graph in GRAPHS:
                contestants = contestants_on(model, graph, PEERS)
                file = Setting(graph, "cpu", "fp32", None).file(bundle)
                contestants += [
                    Contestant(peer, *edge_peers.arguments_of(peer, graph, file, model.checkpoint))
                    for peer in small
                ]
                turns = compete(contestants, model.rows, load, rounds=options.rounds, graph=graph)
                found[graph] = figures(turns)
                for peer in (*PEERS, *small):
                    to = found[graph][peer]["to_it"]
                    print(f"{name:10} {graph:12} to {peer:16} p50 {to['p50']:.3f}  p99 {to['p99']:.3f}")
            ours = [
                Contestant(graph, one.factory, one.arguments)
                for graph in GRAPHS
                for one in [Setting(graph, "auto", "fp32", None).ours(bundle)]
            ]
            found["alone"] = {
                graph: figures(turns, of=graph)["reconstruct"]["to_it"]
                for turns in [compete(ours, model.rows, load, rounds=options.rounds)]
                for graph in ("encode", "score")
            }
            for graph, to in found["alone"].items():
                print(f"{name:10} {graph} to reconstruct: p50 {to['p50']:.3f}")
            results[name] = found
    save("one_row", {**vars(options), "edge_peers": small}, results)


if __name__ == "__main__":
    main()
