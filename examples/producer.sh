#!/bin/sh
# The same with kcat: sh examples/producer.sh BROKERS FEED PICTURE
# murmur2_random is the partitioner of Kafka's own clients; kcat's default is another.
set -eu
identity=$(sha256sum "$3" | cut -d ' ' -f 1)
exec kcat -P -b "$1" -t frames.raw -k "$identity" \
  -X partitioner=murmur2_random -X acks=all -X enable.idempotence=true -X message.max.bytes=4194304 \
  -H ce_specversion=1.0 -H ce_type=sightline.frame.raw.v1 \
  -H "ce_source=/my-service/$2" -H "ce_id=$identity" -H "ce_time=$(date -u +%Y-%m-%dT%H:%M:%SZ)" \
  -H content-type=image/jpeg \
  "$3"
