#!/bin/sh
# User data: runs once at every boot of every node that has no file of its own, as root, after Docker answers and
# before the node joins the swarm. FLEDERMAUS_NODE, _ADDRESS, _HEAD, _MODEL, _SERIAL and others are in its environment.
# What it prints is on the node's timeline: `fledermaus node show {{ node.name }}`.
echo "{{ node.name }} at {{ node.address }}, a fresh installation"
