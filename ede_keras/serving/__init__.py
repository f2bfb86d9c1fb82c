"""Export of a model to TF Serving and other formats, and the client of a server."""
