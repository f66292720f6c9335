#!/bin/sh
# smtp-gated on FreeBSD: ipfw fwd, which leaves the packets as they are, so that
# a connection's own local address says where the client was going.
#
#     [target]
#     mode = "ipfw"
#
#     [listen]
#     on = ["127.0.0.1:9199", "[::1]:9199"]
#
#     ipfw.sh start|stop
#
# Nobody has run these rules yet: try them before you trust them.

lan=em1
mail=25,587
direct4=203.0.113.0/28 # who is left alone
direct6=2001:db8:cafe::/48
first=1000             # numbers first to first+40 must be free

case $1 in
start)
	ipfw add $first allow tcp from $direct4 to any $mail in recv $lan
	ipfw add $first allow tcp from any to $direct4 $mail in recv $lan
	ipfw add $first allow tcp from $direct6 to any $mail in recv $lan
	ipfw add $first allow tcp from any to $direct6 $mail in recv $lan
	# "recv" keeps the gateway's own connections out: they came in nowhere.
	ipfw add $((first + 10)) fwd 127.0.0.1,9199 tcp from any to not me $mail in recv $lan
	ipfw add $((first + 20)) fwd ::1,9199 tcp from any to not me6 $mail in recv $lan
	# Mode tproxy: what servers answer to the clients' addresses is for the
	# gateway's sockets.
	# ipfw add $((first + 30)) fwd 127.0.0.1 tcp from any $mail to any in recv em0
	# ipfw add $((first + 40)) fwd ::1 tcp from any $mail to any in recv em0
	;;
stop)
	for n in 0 10 20 30 40; do
		ipfw delete $((first + n)) 2>/dev/null
	done
	;;
*)
	echo "usage: $0 start|stop" >&2
	exit 1
	;;
esac
