#!/bin/sh
# An authority and one certificate for all nodes of the compose file, made once: nodes let nobody in without one.
set -eu
cd /certificates
[ -e node.crt ] && exit 0
names="$*"
alternatives=$(for name in $names; do printf 'DNS:%s,' "$name"; done)
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650 \
  -subj "/CN=Elanus nodes' authority" -keyout authority.key -out authority.crt
openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "/CN=elanus" \
  -keyout node.key -out node.csr
printf 'subjectAltName=%s\n' "${alternatives%,}" > extensions
openssl x509 -req -in node.csr -CA authority.crt -CAkey authority.key -CAcreateserial -days 3650 \
  -extfile extensions -out node.crt.new
# The nodes' user.
chown 1000:1000 node.key
chmod 400 node.key authority.key
mv node.crt.new node.crt
