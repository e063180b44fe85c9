"""Whether something in Python has changed."""
class _W:
    def changed(self):
        return False


def watched(model, loss):
    return _W()
