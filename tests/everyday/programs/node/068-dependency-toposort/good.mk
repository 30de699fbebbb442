# the app
app: ui.o core.o libnet.a
ui.o: ui.h core.h
core.o: core.h
libnet.a: socket.o tls.o
socket.o: core.h
tls.o: socket.o
