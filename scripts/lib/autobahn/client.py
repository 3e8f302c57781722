"""The fuzzing client of the Autobahn test suite, with headers of our own in its handshakes.

The suite is written for Python 2.7. What is added here is the only thing it lacks for a server that asks who comes:
`headers` of a server in the specification are sent along, and only the factory's session parameters are touched.

    python2.7 client.py SPECIFICATION.json
"""

import json
import sys

# Installs the reactor, so it comes first.
from autobahntestsuite import choosereactor
from twisted.internet import reactor

from autobahntestsuite import fuzzing


class Client(fuzzing.FuzzingClientFactory):
    def setSessionParameters(self, *positional, **named):
        # Called with positions while there is no specification yet, and by names for each server of it.
        if hasattr(self, "spec"):
            headers = self.spec["servers"][self.currServer].get("headers", {})
            named["headers"] = dict((str(name), str(value)) for name, value in headers.items())
        fuzzing.FuzzingClientFactory.setSessionParameters(self, *positional, **named)


with open(sys.argv[1]) as file:
    Client(json.load(file))
reactor.run()
