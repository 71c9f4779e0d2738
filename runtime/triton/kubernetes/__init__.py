"""A model repository on Kubernetes: plain manifests, as kustomize puts them together."""
