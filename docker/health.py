"""Health check of a service: ``health.py URL [COMPONENT...]``.

Exits with 1 if the URL does not answer. With components, the URL must return Airflow's health
report, and each component in it must be healthy.
"""

import json
import sys
import urllib.request

url, *components = sys.argv[1:]
# Docker may set a proxy in its containers, and the proxy cannot reach the other services.
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
try:
    with opener.open(url, timeout=5) as answer:
        report = json.load(answer)
except (OSError, ValueError) as error:
    sys.exit(f"{url}: {error}")
for component in components:
    if (status := report[component]["status"]) != "healthy":
        sys.exit(f"{component}: {status}")
