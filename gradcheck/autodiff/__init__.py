"""The only folder that imports TensorFlow: the user's op, its inputs, its gradients."""
