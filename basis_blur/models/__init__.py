"""BasicSR models, one per training stage."""

# First of all: where the start-up hook is installed, this import loads the plugin, which imports the models in this
# folder; begun from within one of them, that would be a circle.
import basicsr  # noqa: F401
