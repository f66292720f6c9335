// Package link carries messages between two rooms, with their descriptors. Conn is
// one end of a link, Peer the place of a room at its other end that may be replaced
// while we live. Ask puts a question, whose answer has the one type imsg.Table says;
// what is asked the other way comes to a Handler, and is answered by a Reply.
package link
