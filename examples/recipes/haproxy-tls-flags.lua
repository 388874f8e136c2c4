-- SPDX-License-Identifier: Apache-2.0
-- For HAProxy: does the ClientHello that waits in the buffer have the flag request_client_auth? haproxy.cfg uses it.

local extension = 62 -- tls_flags
local flag = 80      -- request_client_auth, the experimental number

local function number(octets, at, size)
    local value = 0
    for i = at, at + size - 1 do
        value = value * 256 + assert(octets:byte(i))
    end
    return value
end

-- The handshake message, out of as many records as it takes.
local function handshake(octets)
    local message, at = "", 1
    while at + 5 <= #octets and octets:byte(at) == 22 do
        local size = number(octets, at + 3, 2)
        message = message .. octets:sub(at + 5, at + 4 + size)
        at = at + 5 + size
    end
    return message
end

local function offers(octets)
    local hello = handshake(octets)
    assert(hello:byte(1) == 1 and #hello >= 4 + number(hello, 2, 3))
    local at = 1 + 4 + 2 + 32                -- its head, version, random
    at = at + 1 + number(hello, at, 1)       -- session id
    at = at + 2 + number(hello, at, 2)       -- cipher suites
    at = at + 1 + number(hello, at, 1)       -- compression methods
    local last = at + 2 + number(hello, at, 2)
    at = at + 2
    while at < last do
        local size = number(hello, at + 2, 2)
        if number(hello, at, 2) == extension then
            local flags = hello:sub(at + 4, at + 3 + size)
            local octet = flags:byte(2 + flag // 8) -- the first is their length
            return flags:byte(1) == #flags - 1 and octet ~= nil and (octet >> (flag % 8)) & 1 == 1
        end
        at = at + 4 + size
    end
    return false
end

-- "yes" or "no". What cannot be read is "no": TLS itself will answer it.
core.register_fetches("request_client_auth", function(txn)
    local read, answer = pcall(offers, txn.f:req_payload(0, 0) or "")
    return read and answer and "yes" or "no"
end)
