"""What the Autobahn test suite found: for each agent how many cases ended how, and whether the gateway changed anything.

    python3 judge.py SPECIFICATION.json REPORTS

Exits with 1 where a case is missing, failed, or ended otherwise through the gateway than directly.
"""

import collections
import json
import sys

GOOD = {"OK", "NON-STRICT", "INFORMATIONAL"}

with open(sys.argv[1]) as file:
    agents = [server["agent"] for server in json.load(file)["servers"]]
with open(sys.argv[2] + "/index.json") as file:
    index = json.load(file)

wanted = set().union(*(index.get(agent, {}) for agent in agents))
direct = agents[0]
faults = []


def order(case):
    return [int(part) for part in case.split(".")]


print("%-12s %6s %6s %11s %14s %7s   %s" % ("agent", "cases", "OK", "NON-STRICT", "INFORMATIONAL", "FAILED", "closings right"))
for agent in agents:
    cases = index.get(agent, {})
    how = collections.Counter(case["behavior"] for case in cases.values())
    closings = sum(case["behaviorClose"] in GOOD for case in cases.values())
    failed = sum(count for behavior, count in how.items() if behavior not in GOOD)
    print("%-12s %6d %6d %11d %14d %7d   %d" % (
        agent, len(cases), how["OK"], how["NON-STRICT"], how["INFORMATIONAL"], failed, closings))
    for case in sorted(wanted, key=order):
        found = cases.get(case)
        if found is None:
            faults.append("%s: %s did not run" % (agent, case))
            continue
        seen = (found["behavior"], found["behaviorClose"], found["remoteCloseCode"])
        if not (found["behavior"] in GOOD and found["behaviorClose"] in GOOD):
            faults.append("%s: %s ended %s, closing %s, code %s" % ((agent, case) + seen))
        other = index.get(direct, {}).get(case)
        if other is not None:
            expected = (other["behavior"], other["behaviorClose"], other["remoteCloseCode"])
            if seen != expected:
                faults.append("%s: %s ended %s, directly %s" % (agent, case, seen, expected))

if not wanted:
    faults.append("no case ran")
for fault in faults:
    print("  " + fault)
print("%s" % ("every case ended as it does without the gateway" if not faults else "%d differences" % len(faults)))
sys.exit(bool(faults))
