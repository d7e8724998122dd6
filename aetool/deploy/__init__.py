"""Deployments of a bundle for other hosts: one module per target, each with functions that return a `Deployment`.

Read `_deployment` first (files, identifiers, the graphs that are let in), then `_child` with its programs
`work_*`: work on untrusted graphs, in a process with limits. The targets are `web` and `node` (JavaScript),
`triton`, `mobile`, and `c` with `_c_source` (memory plan of the generated code) and `_c_check` (its golden
rows).

Other rooms import a target's function from its module, since each target needs its own packages: `web.web`,
`web.web_page`, `node.node`, `c.c`, `mobile.mobile` and `triton.triton`.
"""

__all__ = ["c", "mobile", "node", "triton", "web"]
