"""A bundle laid out for another host: browser, Node, C, ONNX Runtime Mobile, Triton."""

from aetool.deploy.c import c
from aetool.deploy.deployment import Deployment
from aetool.deploy.node import node
from aetool.deploy.web import web, web_page

__all__ = ["Deployment", "c", "node", "web", "web_page"]
