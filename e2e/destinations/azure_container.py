#!/usr/bin/env python3
"""Makes a container in Azure Blob Storage: azure_container.py URL ACCOUNT KEY CA.pem, with a URL such as https://HOST/ACCOUNT/CONTAINER.

Signed by hand (Shared Key, "Authorize with Shared Key" of the Azure Storage documentation), since nothing else here makes containers."""
import base64, email.utils, hashlib, hmac, ssl, sys, urllib.parse, urllib.request

url, account, key, ca = sys.argv[1:]
headers = {"x-ms-date": email.utils.formatdate(usegmt=True), "x-ms-version": "2021-08-06"}
canonical = "".join(f"{name}:{value}\n" for name, value in headers.items())
resource = f"/{account}{urllib.parse.urlsplit(url).path}\nrestype:container"
to_sign = "PUT" + "\n" * 12 + canonical + resource
signature = base64.b64encode(hmac.new(base64.b64decode(key), to_sign.encode(), hashlib.sha256).digest()).decode()
request = urllib.request.Request(url + "?restype=container", method="PUT", headers=headers | {"Authorization": f"SharedKey {account}:{signature}"})
with urllib.request.urlopen(request, context=ssl.create_default_context(cafile=ca)) as answer:
    assert answer.status == 201, answer.status
