// An application that sends back what it gets, messages compressed where the client offers it. Node.js, `ws`.
//
//     node echo.js        // prints its port
"use strict";
const { WebSocketServer } = require("ws");

const server = new WebSocketServer({ host: "127.0.0.1", port: 0, maxPayload: 32 << 20, perMessageDeflate: true }, () =>
    console.log(server.address().port));
server.on("connection", (socket) => {
    socket.on("message", (data, binary) => socket.send(data, { binary }));
    // A client that breaks the protocol is answered by `ws` itself, as the cases want.
    socket.on("error", () => {});
});
