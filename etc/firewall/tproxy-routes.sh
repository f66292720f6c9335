#!/bin/sh
# Routes for TPROXY: packets with this mark are for a socket of this machine,
# whatever their address. Run it before the rules are loaded, at every boot.
#
#     tproxy-routes.sh start|stop
#
# As long as the mark is free for it, it does not disturb other routes. Other
# rules for policy routing must come later than number 900, or leave marked
# packets alone. smtp-gatectl rules routes prints this with another mark.

mark=0x1
table=100
priority=900

[ -e /proc/net/if_inet6 ] && six=-6 || six=

case $1 in
start)
	for family in -4 $six; do
		ip $family rule del priority $priority 2>/dev/null
		ip $family rule add priority $priority fwmark $mark lookup $table &&
			ip $family route replace local default dev lo table $table || exit 1
	done
	;;
stop)
	for family in -4 $six; do
		ip $family rule del priority $priority
		ip $family route flush table $table
	done
	;;
*)
	echo "usage: $0 start|stop" >&2
	exit 1
	;;
esac
