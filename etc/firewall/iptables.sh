#!/bin/sh
# The rules of the nftables files for iptables and ip6tables.
#
#     iptables.sh redirect|dnat|tproxy|combined|remote start|stop
#
# redirect   mode netfilter: REDIRECT
# dnat       mode netfilter: DNAT to one address of this router
# tproxy     mode tproxy, or getsockname; run tproxy-routes.sh too
# combined   mode tproxy,netfilter; run tproxy-routes.sh too
# remote     modes remote and remote-udp: the gateway is another machine, and
#            smtp-gate-helper runs here, which only the gateway reaches
#
# The comments of those files tell what the gateway's configuration says, and the
# reasons. What had begun before breaks off. stop takes away what start has put
# there; before another start it has to be said.

lan=lan0              # where the clients are; a bridge by its own name, not its ports'
mail=25,587           # what is intercepted; 465 is TLS from its first octet: passed on, not scanned
gate=9199             # where the gateway listens
gate4=192.0.2.1       # for dnat: the router's addresses
gate6=2001:db8:1::1
far4=203.0.113.2      # for remote: the gateway's addresses
far6=2001:db8:3::2
helper=114            # for remote: where smtp-gate-helper listens here
mark=0x1              # as in tproxy-routes.sh
direct4=203.0.113.0/28 # who is left alone, joined by commas
direct6=2001:db8:cafe::/48
private4=10.0.0.0/8,169.254.0.0/16,172.16.0.0/12,192.168.0.0/16
private6=fc00::/7,fe80::/10

family() { # which program, and its addresses
	iptables=$1 direct=$2 private=$3 to=$4 far=$5 far_to=$6
}

each_family() {
	family iptables "$direct4" "$private4" "$gate4:$gate" "$far4" "$far4:$gate" && "$@" &&
		family ip6tables "$direct6" "$private6" "[$gate6]:$gate" "$far6" "[$far6]:$gate" && "$@"
}

# One chain a table: from the clients, to mail ports, not those left alone nor a mail
# server on this router. Of the filter's rules ours comes first, for others may accept.
chain() { # TABLE HOOK
	at=-A
	[ "$1" = filter ] && at=-I
	$iptables -w -t "$1" -N SMTP_GATED &&
		$iptables -w -t "$1" -A SMTP_GATED -m addrtype --dst-type LOCAL -j RETURN &&
		$iptables -w -t "$1" -A SMTP_GATED -s "$direct" -j RETURN &&
		$iptables -w -t "$1" -A SMTP_GATED -d "$direct" -j RETURN &&
		$iptables -w -t "$1" $at "$2" -i $lan -p tcp -m multiport --dports $mail -j SMTP_GATED
}

unchain() { # TABLE HOOK
	$iptables -w -t "$1" -D "$2" -i $lan -p tcp -m multiport --dports $mail -j SMTP_GATED
	$iptables -w -t "$1" -F SMTP_GATED
	$iptables -w -t "$1" -X SMTP_GATED
}

# What does not get to the gateway does not pass unscanned: FORWARD refuses it.
refuse() {
	chain filter FORWARD && $iptables -w -t filter -A SMTP_GATED -p tcp -j REJECT --reject-with tcp-reset
}

# Who calls the gateway's own port was not led there, and is refused.
stranger() { # -I|-D
	$iptables -w -t filter "$1" INPUT -p tcp --dport $gate -m addrtype --dst-type LOCAL \
		-m conntrack ! --ctstate DNAT -j REJECT --reject-with tcp-reset
}

redirect_start() {
	refuse && stranger -I && chain nat PREROUTING &&
		$iptables -w -t nat -A SMTP_GATED -p tcp -j REDIRECT --to-ports $gate
}
redirect_stop() {
	unchain nat PREROUTING
	stranger -D
	unchain filter FORWARD
}

dnat_start() {
	refuse && stranger -I && chain nat PREROUTING &&
		$iptables -w -t nat -A SMTP_GATED -p tcp -j DNAT --to-destination "$to"
}
dnat_stop() { redirect_stop; }

# What belongs to a connection of the gateway, and new ones of clients.
tproxy_start() {
	$iptables -w -t mangle -A PREROUTING -p tcp -m socket --transparent -j MARK --set-mark $mark &&
		$iptables -w -t mangle -A PREROUTING -p tcp -m socket --transparent -j ACCEPT &&
		chain mangle PREROUTING &&
		tproxy_exempt &&
		$iptables -w -t mangle -A SMTP_GATED -p tcp -j TPROXY --on-port $gate --tproxy-mark $mark &&
		stranger -I && refuse
}
tproxy_exempt() { :; }
tproxy_stop() {
	unchain filter FORWARD
	stranger -D
	unchain mangle PREROUTING
	$iptables -w -t mangle -D PREROUTING -p tcp -m socket --transparent -j ACCEPT
	$iptables -w -t mangle -D PREROUTING -p tcp -m socket --transparent -j MARK --set-mark $mark
}

combined_start() {
	tproxy_exempt() { $iptables -w -t mangle -A SMTP_GATED -s "$private" -j RETURN; }
	tproxy_start && chain nat PREROUTING &&
		$iptables -w -t nat -A SMTP_GATED -s "$private" -p tcp -j REDIRECT --to-ports $gate
}
combined_stop() {
	unchain nat PREROUTING
	tproxy_stop
}

# The gateway has to find this router, and the helper on it, at the other end. It
# may be among the clients itself.
remote_start() {
	refuse || return
	for end in -s -d; do
		$iptables -w -t filter -I SMTP_GATED $end "$far" -j RETURN || return
	done
	for protocol in tcp udp; do
		$iptables -w -t filter -I INPUT ! -s "$far" -p $protocol --dport $helper -j DROP || return
	done
	chain nat PREROUTING &&
		$iptables -w -t nat -A SMTP_GATED -s "$far" -j RETURN &&
		$iptables -w -t nat -A SMTP_GATED -d "$far" -j RETURN &&
		$iptables -w -t nat -A SMTP_GATED -p tcp -j DNAT --to-destination "$far_to" &&
		$iptables -w -t nat -A POSTROUTING -d "$far" -p tcp --dport $gate -j MASQUERADE
}
remote_stop() {
	$iptables -w -t nat -D POSTROUTING -d "$far" -p tcp --dport $gate -j MASQUERADE
	unchain nat PREROUTING
	unchain filter FORWARD
	for protocol in tcp udp; do
		$iptables -w -t filter -D INPUT ! -s "$far" -p $protocol --dport $helper -j DROP
	done
}

case $1:$2 in
redirect:start | dnat:start | tproxy:start | combined:start | remote:start)
	each_family "$1_start"
	;;
redirect:stop | dnat:stop | tproxy:stop | combined:stop | remote:stop)
	each_family "$1_stop"
	;;
*)
	echo "usage: $0 redirect|dnat|tproxy|combined|remote start|stop" >&2
	exit 1
	;;
esac
