import tensorflow as tf


def quick(x):
    return x * x


def endless(x):
    while True:
        pass
