"""A bundle laid out for another host: browser, Node, C, ONNX Runtime Mobile, Triton."""

from aetool.deploy.deployment import Deployment
from aetool.deploy.node import node
from aetool.deploy.web import web, web_page

__all__ = ["Deployment", "node", "web", "web_page"]
