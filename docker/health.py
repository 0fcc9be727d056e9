"""Whether a service answers, for health checks: ``health.py URL [COMPONENT...]``.

With components, the answer is Airflow's report of its health, and each of them has to be healthy.
"""

import json
import sys
import urllib.request

url, *components = sys.argv[1:]
# A proxy that Docker gives to containers does not know the other services.
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
try:
    with opener.open(url, timeout=5) as answer:
        report = json.load(answer)
except (OSError, ValueError) as error:
    sys.exit(f"{url}: {error}")
for component in components:
    if (status := report[component]["status"]) != "healthy":
        sys.exit(f"{component}: {status}")
