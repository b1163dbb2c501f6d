"""The voice: answers decision requests with the deployed models.

A service owns one local Ray, one Ray Serve application and one replica that holds every deployed ONNX
model. `serve.client.DecisionClient` asks it, `serve.process.start_service` starts one,
`python -P -m serve` is one.
"""
