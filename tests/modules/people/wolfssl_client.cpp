// SPDX-License-Identifier: Apache-2.0
// An ordinary program on wolfSSL that fetches a page: wolfssl-client PORT CA PATH [CERTIFICATE KEY].
#include <wolfssl/options.h>

#include <wolfssl/ssl.h>

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>

namespace {

[[noreturn]] void fail(const char* what, int error = 0) {
    std::array<char, 160> text{};
    if (error != 0) wolfSSL_ERR_error_string_n(static_cast<unsigned long>(error), text.data(), text.size());
    std::fprintf(stderr, "wolfssl-client: %s: %s\n", what, text.data());
    std::exit(1);
}

int connect_to(const char* port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(static_cast<std::uint16_t>(std::atoi(port)));
    const int descriptor = socket(AF_INET, SOCK_STREAM, 0);
    if (descriptor < 0 || connect(descriptor, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0)
        fail("connect");
    return descriptor;
}

} // namespace

int main(int count, char** arguments) {
    if (count != 4 && count != 6) fail("give PORT CA PATH [CERTIFICATE KEY]");
    wolfSSL_Init();
    const std::unique_ptr<WOLFSSL_CTX, decltype(&wolfSSL_CTX_free)> context(
        wolfSSL_CTX_new(wolfTLSv1_3_client_method()), wolfSSL_CTX_free);
    if (!context || wolfSSL_CTX_load_verify_locations(context.get(), arguments[2], nullptr) != WOLFSSL_SUCCESS)
        fail("CA");
    if (count == 6 &&
        (wolfSSL_CTX_use_certificate_chain_file(context.get(), arguments[4]) != WOLFSSL_SUCCESS ||
         wolfSSL_CTX_use_PrivateKey_file(context.get(), arguments[5], WOLFSSL_FILETYPE_PEM) != WOLFSSL_SUCCESS))
        fail("certificate or key");
    const std::unique_ptr<WOLFSSL, decltype(&wolfSSL_free)> ssl(wolfSSL_new(context.get()), wolfSSL_free);
    const int descriptor = connect_to(arguments[1]);
    if (!ssl || wolfSSL_UseSNI(ssl.get(), WOLFSSL_SNI_HOST_NAME, "localhost", 9) != WOLFSSL_SUCCESS ||
        wolfSSL_check_domain_name(ssl.get(), "localhost") != WOLFSSL_SUCCESS ||
        wolfSSL_set_fd(ssl.get(), descriptor) != WOLFSSL_SUCCESS)
        fail("connection");
    if (wolfSSL_connect(ssl.get()) != WOLFSSL_SUCCESS) fail("handshake", wolfSSL_get_error(ssl.get(), 0));
    const std::string request =
        std::string("GET ") + arguments[3] + " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    if (wolfSSL_write(ssl.get(), request.data(), static_cast<int>(request.size())) <= 0) fail("write");
    std::array<char, 4096> answer{};
    int read = 0;
    while ((read = wolfSSL_read(ssl.get(), answer.data(), static_cast<int>(answer.size()))) > 0)
        std::fwrite(answer.data(), 1, static_cast<std::size_t>(read), stdout);
    close(descriptor);
    return 0;
}
