"""The version of gradcheck."""

VERSION = "0.1.0"
