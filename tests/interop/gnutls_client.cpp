// SPDX-License-Identifier: Apache-2.0
// A client that offers request_client_auth with GnuTLS, and shares no code with the library: the flag by GnuTLS's own
// extension API, the acknowledgement out of the CertificateRequest. Options and output are those of reqauth-client.
#include <gnutls/abstract.h>
#include <gnutls/gnutls.h>

#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <array>
#include <iostream>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace {

struct options {
    std::string connect, name, ca, certificate, key, get, header, offer = "auto";
    int extension = 62;
    unsigned flag = 80;
    bool json = false;
};

/// exchange is what one connection saw. The callbacks find it by gnutls_session_get_ptr.
struct exchange {
    const options& how;
    bool offers = false, offered = false, requested = false, acknowledged = false;
    std::string sent = "none";
    gnutls_pcert_st certificate{};
    gnutls_privkey_t key = nullptr;

    explicit exchange(const options& how) : how(how) {}
    exchange(const exchange&) = delete;
    exchange& operator=(const exchange&) = delete;
    ~exchange() {
        if (key == nullptr) return;
        gnutls_pcert_deinit(&certificate);
        gnutls_privkey_deinit(key);
    }
};

exchange& exchange_of(gnutls_session_t session) { return *static_cast<exchange*>(gnutls_session_get_ptr(session)); }

void must(int status, const std::string& what) {
    if (status < 0) throw std::runtime_error(what + ": " + gnutls_strerror(status));
}

/// well_formed is FLAG-5, of `opaque flags<1..255>`.
bool well_formed(std::span<const unsigned char> body) {
    return body.size() >= 2 && body[0] == body.size() - 1 && body.back() != 0;
}

bool has(std::span<const unsigned char> body, unsigned flag) {
    return flag / 8 + 1 < body.size() && (body[1 + flag / 8] >> flag % 8 & 1) != 0;
}

int send_flag(gnutls_session_t session, gnutls_buffer_t into) {
    exchange& seen = exchange_of(session);
    if (!seen.offers) return 0;
    std::vector<unsigned char> body(2 + seen.how.flag / 8);
    body[0] = static_cast<unsigned char>(body.size() - 1);
    body.back() = static_cast<unsigned char>(1U << seen.how.flag % 8);
    const int status = gnutls_buffer_append_data(into, body.data(), body.size());
    if (status < 0) return status;
    seen.offered = true;
    return static_cast<int>(body.size());
}

/// In EncryptedExtensions: our flag does not belong there, and no other was proposed.
int receive_flags(gnutls_session_t, const unsigned char*, std::size_t) { return GNUTLS_E_RECEIVED_ILLEGAL_PARAMETER; }

int extension_of_request(void* of, unsigned type, const unsigned char* data, unsigned size) {
    auto& seen = *static_cast<exchange*>(of);
    if (type != static_cast<unsigned>(seen.how.extension)) return 0;
    // Other flags of a server's are proposals, which ask for nothing.
    if (!well_formed({data, size})) return GNUTLS_E_RECEIVED_ILLEGAL_PARAMETER;
    seen.acknowledged = has({data, size}, seen.how.flag);
    if (seen.acknowledged && !seen.offered) return GNUTLS_E_RECEIVED_ILLEGAL_PARAMETER;
    return 0;
}

/// certificate_request reads `opaque context<0..255>; Extension extensions<2..2^16-1>`.
int certificate_request(gnutls_session_t session, unsigned, unsigned, unsigned, const gnutls_datum_t* message) {
    exchange& seen = exchange_of(session);
    seen.requested = true;
    if (message->size < 1 || message->size < 1U + message->data[0]) return GNUTLS_E_UNEXPECTED_PACKET_LENGTH;
    const gnutls_datum_t extensions{message->data + 1 + message->data[0], message->size - 1U - message->data[0]};
    return gnutls_ext_raw_parse(&seen, extension_of_request, &extensions, 0);
}

int choose_certificate(gnutls_session_t session, const gnutls_datum_t*, int, const gnutls_pk_algorithm_t*, int,
                       gnutls_pcert_st** certificates, unsigned* count, gnutls_privkey_t* key) {
    exchange& seen = exchange_of(session);
    const bool shown = seen.acknowledged && seen.key != nullptr;
    seen.sent = shown ? "flag" : "empty";
    *certificates = shown ? &seen.certificate : nullptr;
    *count = shown ? 1 : 0;
    *key = shown ? seen.key : nullptr;
    return 0;
}

/// The alert's name as the RFC spells it.
std::string alert_name(gnutls_alert_description_t alert) {
    const char* known = gnutls_alert_get_strname(alert);
    std::string name = known != nullptr ? known : std::to_string(alert);
    if (constexpr std::string_view prefix = "GNUTLS_A_"; name.starts_with(prefix)) name.erase(0, prefix.size());
    for (char& each : name) each = each >= 'A' && each <= 'Z' ? static_cast<char>(each - 'A' + 'a') : each;
    return name;
}

void load(exchange& seen) {
    gnutls_datum_t pem{};
    must(gnutls_load_file(seen.how.certificate.c_str(), &pem), seen.how.certificate);
    const int read = gnutls_pcert_import_x509_raw(&seen.certificate, &pem, GNUTLS_X509_FMT_PEM, 0);
    gnutls_free(pem.data);
    must(read, seen.how.certificate);
    must(gnutls_privkey_init(&seen.key), "key");
    must(gnutls_load_file(seen.how.key.c_str(), &pem), seen.how.key);
    const int imported = gnutls_privkey_import_x509_raw(seen.key, &pem, GNUTLS_X509_FMT_PEM, nullptr, 0);
    gnutls_free(pem.data);
    must(imported, seen.how.key);
}

/// visit makes one connection, and fills in its line.
void visit(const options& how, exchange& seen, nlohmann::ordered_json& line) {
    const auto colon = how.connect.rfind(':');
    if (colon == std::string::npos) throw std::runtime_error("--connect takes HOST:PORT");
    const std::string host = how.connect.substr(0, colon), name = how.name.empty() ? host : how.name;
    boost::asio::io_context context;
    boost::asio::ip::tcp::socket socket(context);
    boost::asio::connect(socket, boost::asio::ip::tcp::resolver(context).resolve(host, how.connect.substr(colon + 1)));

    gnutls_certificate_credentials_t made = nullptr;
    must(gnutls_certificate_allocate_credentials(&made), "credentials");
    const std::unique_ptr<gnutls_certificate_credentials_st, decltype(&gnutls_certificate_free_credentials)>
        credentials(made, gnutls_certificate_free_credentials);
    if (gnutls_certificate_set_x509_trust_file(made, how.ca.c_str(), GNUTLS_X509_FMT_PEM) < 1)
        throw std::runtime_error(how.ca + ": no certificate in it");
    gnutls_certificate_set_retrieve_function2(made, choose_certificate);

    gnutls_session_t session = nullptr;
    must(gnutls_init(&session, GNUTLS_CLIENT), "session");
    const std::unique_ptr<gnutls_session_int, decltype(&gnutls_deinit)> owner(session, gnutls_deinit);
    gnutls_session_set_ptr(session, &seen);
    must(gnutls_priority_set_direct(session, "NORMAL:-VERS-ALL:+VERS-TLS1.3", nullptr), "priorities");
    must(gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, made), "credentials");
    must(gnutls_server_name_set(session, GNUTLS_NAME_DNS, name.data(), name.size()), "server name");
    gnutls_session_set_verify_cert(session, name.c_str(), 0);
    must(gnutls_session_ext_register(session, "tls_flags", how.extension, GNUTLS_EXT_TLS, receive_flags, send_flag,
                                     nullptr, nullptr, nullptr,
                                     GNUTLS_EXT_FLAG_TLS | GNUTLS_EXT_FLAG_CLIENT_HELLO | GNUTLS_EXT_FLAG_EE),
         "extension");
    gnutls_handshake_set_hook_function(session, GNUTLS_HANDSHAKE_CERTIFICATE_REQUEST, GNUTLS_HOOK_PRE,
                                       certificate_request);
    gnutls_transport_set_int(session, socket.native_handle());

    const auto finish = [&](int status, const char* what) {
        if (status >= 0) return;
        if (status == GNUTLS_E_FATAL_ALERT_RECEIVED)
            line["alert_received"] = alert_name(gnutls_alert_get(session));
        else if (int level = 0; gnutls_error_is_fatal(status) != 0) {
            const int alert = gnutls_error_to_alert(status, &level);
            if (gnutls_alert_send_appropriate(session, status) >= 0 && level == GNUTLS_AL_FATAL)
                line["alert_sent"] = alert_name(static_cast<gnutls_alert_description_t>(alert));
        }
        throw std::runtime_error(std::string(what) + ": " + gnutls_strerror(status));
    };
    int status = 0;
    do status = gnutls_handshake(session);
    while (status < 0 && gnutls_error_is_fatal(status) == 0);
    finish(status, "handshake");
    line["version"] = "TLSv1.3";
    line["resumed"] = gnutls_session_is_resumed(session) != 0;
    // The server judges the certificate only now: the answer, or an alert, tells.
    const std::string request = "GET " + (how.get.empty() ? "/" : how.get) + " HTTP/1.1\r\nHost: " + name +
                                "\r\nConnection: close\r\n" + (how.header.empty() ? "" : how.header + "\r\n") + "\r\n";
    must(static_cast<int>(gnutls_record_send(session, request.data(), request.size())), "request");
    std::string answer;
    std::array<char, 4096> some{};
    for (ssize_t read = 1; read != 0;) {
        read = gnutls_record_recv(session, some.data(), some.size());
        if (read == GNUTLS_E_PREMATURE_TERMINATION && !answer.empty()) break;
        if (read < 0 && gnutls_error_is_fatal(static_cast<int>(read)) != 0) finish(static_cast<int>(read), "answer");
        if (read > 0) answer.append(some.data(), static_cast<std::size_t>(read));
    }
    if (answer.empty()) throw std::runtime_error("the server closed the connection without an answer");
    gnutls_bye(session, GNUTLS_SHUT_WR);
    if (!how.get.empty()) std::cout << answer.substr(std::min(answer.size(), answer.find("\r\n\r\n") + 4)) << '\n';
}

} // namespace

int main(int count, char** arguments) {
    options how;
    CLI::App app("Visits a server with GnuTLS, and offers the flag request_client_auth.");
    app.add_option("--connect", how.connect, "HOST:PORT")->required();
    app.add_option("--servername", how.name, "the server's name, if it is not HOST");
    app.add_option("--ca", how.ca, "trust anchors for the server")->required()->check(CLI::ExistingFile);
    auto* certificate = app.add_option("--cert", how.certificate, "the certificate to show")->check(CLI::ExistingFile);
    auto* key = app.add_option("--key", how.key, "its key")->check(CLI::ExistingFile)->needs(certificate);
    certificate->needs(key);
    app.add_option("--offer", how.offer, "auto (with a certificate), always, never")
        ->check(CLI::IsMember({"auto", "always", "never"}));
    app.add_option("--flag", how.flag, "the flag's number")->check(CLI::Range(0, 2039));
    app.add_option("--extension", how.extension, "the extension's type")->check(CLI::Range(0, 65535));
    app.add_option("--get", how.get, "the path to ask for, printed");
    app.add_option("--header", how.header, "a header field of the request");
    app.add_flag("--json", how.json, "one line at the end says how it went: always on");
    try {
        app.parse(count, arguments);
    } catch (const CLI::ParseError& wrong) {
        const int status = app.exit(wrong);
        return status == 0 ? 0 : 2;
    }

    exchange seen(how);
    nlohmann::ordered_json line{{"event", "connection"}, {"ok", true},
                                {"version", nullptr},    {"offered", false},
                                {"requested", false},    {"acknowledged", false},
                                {"sent", "none"},        {"resumed", false},
                                {"alert_sent", nullptr}, {"alert_received", nullptr},
                                {"error", nullptr}};
    try {
        if (!how.certificate.empty()) load(seen);
        seen.offers = how.offer == "always" || (how.offer == "auto" && seen.key != nullptr);
        visit(how, seen, line);
    } catch (const std::exception& failed) {
        line["ok"] = false;
        line["error"] = failed.what();
    }
    line["offered"] = seen.offered;
    line["requested"] = seen.requested;
    line["acknowledged"] = seen.acknowledged;
    line["sent"] = seen.sent;
    std::cout << line.dump() << '\n';
    return line["ok"] ? 0 : 1;
}
