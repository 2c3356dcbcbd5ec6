"""`python -m broker.settings > conf/leveret.conf`."""

import sys

from broker.settings.documentation import conf_text

if __name__ == "__main__":
    sys.stdout.write(conf_text())
