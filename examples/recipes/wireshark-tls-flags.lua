-- SPDX-License-Identifier: Apache-2.0
-- For Wireshark and tshark: names the flags in the extension tls_flags, in whichever handshake message it is.
--
--   tshark -X lua_script:wireshark-tls-flags.lua -r capture.pcap -Y tls_flags
--   tshark ... -o tls.keylog_file:keys.log      what is encrypted, too: the CertificateRequest

local types = { [62] = true, [65025] = true } -- tls_flags; and the number of an older experiment
local names = { [80] = "request_client_auth" } -- the experimental number
local messages = { [1] = "ClientHello", [2] = "ServerHello", [4] = "NewSessionTicket", [8] = "EncryptedExtensions",
                   [11] = "Certificate", [13] = "CertificateRequest" }

local tls_flags = Proto("tls_flags", "TLS Flags")
local message = ProtoField.string("tls_flags.message", "In")
local flag = ProtoField.uint16("tls_flags.flag", "Flag", base.DEC, names)
local asks = ProtoField.bool("tls_flags.request_client_auth", "request_client_auth")
local malformed = ProtoField.string("tls_flags.malformed", "Malformed")
tls_flags.fields = { message, flag, asks, malformed }

local kinds = Field.new("tls.handshake.type")
local extensions = Field.new("tls.handshake.extension.type")
local bodies = Field.new("tls.handshake.extension.data")

-- What stands at most that far in the same octets, last of all.
local function last_before(infos, body)
    local found
    for _, info in ipairs(infos) do
        if info.source == body.source and info.offset < body.offset and (not found or info.offset > found.offset) then
            found = info
        end
    end
    return found
end

local function wrong_with(octets)
    if octets:len() < 2 or octets:get_index(0) ~= octets:len() - 1 then return "its length does not fit" end
    if octets:get_index(octets:len() - 1) == 0 then return "it ends in a zero octet" end
end

function tls_flags.dissector(_, packet, root)
    local all_kinds, all_extensions = { kinds() }, { extensions() }
    for _, body in ipairs({ bodies() }) do
        local extension = last_before(all_extensions, body)
        if extension and extension.offset == body.offset - 4 and types[extension.value] then
            local kind = last_before(all_kinds, extension)
            local within = kind and (messages[kind.value] or "message " .. kind.value) or "a message"
            local octets = body.range:bytes()
            local tree = root:add(tls_flags, body.range, "TLS Flags in " .. within)
            tree:add(message, body.range, within):set_generated()
            local wrong = wrong_with(octets)
            if wrong then tree:add(malformed, body.range, wrong):set_generated() end
            local asked = false
            for i = 1, octets:len() - 1 do
                for bit = 0, 7 do
                    if math.floor(octets:get_index(i) / 2 ^ bit) % 2 == 1 then
                        local number = (i - 1) * 8 + bit
                        tree:add(flag, body.range, number)
                        asked = asked or names[number] ~= nil
                    end
                end
            end
            tree:add(asks, body.range, asked):set_generated()
            if asked then packet.cols.info:append(" [request_client_auth in " .. within .. "]") end
        end
    end
end

register_postdissector(tls_flags, true)
