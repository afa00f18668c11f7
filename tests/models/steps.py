"""One step of a training, and a board that keeps what it is shown."""


def step(model, batch, iteration=1):
    """Return the log of one training step."""
    model.feed_data(batch)
    model.optimize_parameters(iteration)
    return dict(model.get_current_log())


class Board:
    """Stands for a TensorBoard writer."""

    def __init__(self):
        self.scalars, self.images = {}, {}

    def add_scalar(self, name, value, iteration):
        self.scalars[name] = value

    def add_image(self, name, picture, iteration, dataformats):
        self.images[name] = (picture.shape, picture.dtype, dataformats)
