// SPDX-License-Identifier: Apache-2.0
#include "../base/fence.hpp"
#include "../base/pem.hpp"
#include "../base/what_is.hpp"
#include "credential_load.hpp"
#include "no_prompt.hpp"

#include <reqauth/client.hpp>
#include <reqauth/error.hpp>

#include <openssl/core_names.h>
#include <openssl/decoder.h>
#include <openssl/pem.h>
#include <openssl/provider.h>
#include <openssl/store.h>
#include <openssl/ui.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <ctime>
#include <exception>
#include <initializer_list>

namespace reqauth {

namespace detail {

namespace {

/// passphrase_request is what OpenSSL's passphrase callback works with. It answers or fails: nothing
/// here opens a terminal.
struct passphrase_request {
    const credential_options& options;
    const std::string& what;
    bool asked = false;
    std::exception_ptr thrown = nullptr;
};

//= RCA-7
int give_passphrase(char* into, int size, int, void* argument) {
    auto& request = *static_cast<passphrase_request*>(argument);
    request.asked = true;
    return fence(-1, [&] {
        if (!request.options.passphrase) return -1;
        std::optional<std::string> passphrase;
        try {
            passphrase = request.options.passphrase(request.what);
        } catch (...) {
            request.thrown = std::current_exception();
        }
        if (!passphrase || passphrase->size() > static_cast<std::size_t>(size)) return -1;
        const std::size_t size_given = passphrase->size();
        // NOLINTNEXTLINE(bugprone-not-null-terminated-result): a length is given
        std::memcpy(into, passphrase->data(), size_given);
        OPENSSL_cleanse(passphrase->data(), size_given);
        return static_cast<int>(size_given);
    });
}

/// without_pin is a URI, or a text with one, as messages have it. OpenSSL's own words quote URIs in full.
std::string without_pin(std::string uri) {
    constexpr std::string_view attribute = "pin-value=";
    for (auto at = uri.find(attribute); at != std::string::npos; at = uri.find(attribute, at + attribute.size())) {
        const auto begin = at + attribute.size();
        uri.replace(begin, std::min(uri.find_first_of("&;?", begin), uri.size()) - begin, "...");
    }
    return uri;
}

[[noreturn]] void key_failed(const passphrase_request& request, bool refused) {
    if (request.thrown != nullptr) std::rethrow_exception(request.thrown);
    const bool of_token = request.what.starts_with("pkcs11:");
    if ((request.asked || refused) && !request.options.passphrase)
        throw error(errc::passphrase,
                    request.what + (of_token
                                        ? ": the key needs a PIN, and nobody is asked" + without_pin(drain_errors())
                                        : ": the private key is encrypted, and nobody is asked for its passphrase"),
                    of_token ? "give pin-source or pin-value in the URI"
                             : "make one that is not: openssl pkey -in FILE -out NEW");
    if (request.asked || refused)
        throw error(errc::passphrase,
                    request.what + ": the passphrase or PIN is wrong, or none was given" + without_pin(drain_errors()),
                    "give the right one");
    throw error(errc::key_unusable, request.what + ": no private key is to be had there" + without_pin(drain_errors()),
                of_token ? "look at the object's name, and at the PIN" : "a public key or a certificate is not enough");
}

[[noreturn]] void not_a_key(std::string_view octets, const std::string& file) {
    const bool is_one = what_is(octets).cure.empty() && octets.find("PRIVATE KEY-----") != std::string_view::npos;
    if (!is_one) not_there(errc::key_unusable, octets, file, "private key", "PRIVATE KEY");
    throw error(errc::malformed, file + ": the private key cannot be read" + drain_errors(), "replace it");
}

/// cipher_of is what a private key is encrypted with; empty where it is not.
std::string cipher_of(std::string_view octets) {
    if (const auto at = octets.find("DEK-Info: "); at != std::string_view::npos) // as before PKCS#8
        return std::string(octets.substr(at + 10, octets.find(',', at) - at - 10));
    const bio_handle in(BIO_new_mem_buf(octets.data(), static_cast<int>(octets.size())));
    const std::unique_ptr<X509_SIG, freed_by<X509_SIG_free>> key(
        in == nullptr    ? nullptr
        : is_pem(octets) ? PEM_read_bio_PKCS8(in.get(), nullptr, nullptr, nullptr)
                         : d2i_PKCS8_bio(in.get(), nullptr));
    if (key == nullptr) return {};
    const X509_ALGOR* how = nullptr;
    X509_SIG_get0(key.get(), &how, nullptr);
    const ASN1_OBJECT* scheme = nullptr;
    int kind = 0;
    const void* parameters = nullptr;
    X509_ALGOR_get0(&scheme, &kind, &parameters, how);
    int cipher = NID_undef;
    if (OBJ_obj2nid(scheme) != NID_pbes2) {
        EVP_PBE_find(EVP_PBE_TYPE_OUTER, OBJ_obj2nid(scheme), &cipher, nullptr, nullptr);
    } else if (kind == V_ASN1_SEQUENCE) {
        const std::unique_ptr<PBE2PARAM, freed_by<PBE2PARAM_free>> both(static_cast<PBE2PARAM*>(
            ASN1_item_unpack(static_cast<const ASN1_STRING*>(parameters), ASN1_ITEM_rptr(PBE2PARAM))));
        if (both != nullptr) cipher = OBJ_obj2nid(both->encryption->algorithm);
    }
    const char* name = OBJ_nid2sn(cipher);
    return cipher != NID_undef && name != nullptr ? name : "";
}

// What OpenSSL would call a wrong passphrase.
void check_cipher(std::string_view pem, const std::string& file, const openssl_scope& scope) {
    const std::string cipher = cipher_of(pem);
    const std::unique_ptr<EVP_CIPHER, freed_by<EVP_CIPHER_free>> there(
        EVP_CIPHER_fetch(scope.libctx, cipher.c_str(), scope.properties));
    ERR_clear_error();
    if (cipher.empty() || there != nullptr) return;
    throw error(errc::key_unusable,
                file + ": the private key is encrypted with " + cipher + ", which this OpenSSL does not have",
                "make another file of it: openssl pkey -provider legacy -provider default -in FILE -out NEW, and with "
                "-aes256 one that is encrypted");
}

pkey_handle key_in_der(BIO* in, passphrase_request& request) {
    EVP_PKEY* key = nullptr;
    const openssl_scope& scope = request.options.scope;
    const std::unique_ptr<OSSL_DECODER_CTX, freed_by<OSSL_DECODER_CTX_free>> decoder(
        OSSL_DECODER_CTX_new_for_pkey(&key, "DER", nullptr, nullptr, EVP_PKEY_KEYPAIR, scope.libctx, scope.properties));
    if (decoder != nullptr && OSSL_DECODER_CTX_set_pem_password_cb(decoder.get(), give_passphrase, &request) == 1)
        OSSL_DECODER_from_bio(decoder.get(), in);
    return pkey_handle(key);
}

/// cleansed text is no secret any more when it goes.
struct cleansed : named_text {
    explicit cleansed(const std::filesystem::path& file) : named_text{file.string(), read_file(file)} {}
    cleansed(const cleansed&) = delete;
    cleansed& operator=(const cleansed&) = delete;
    ~cleansed() { OPENSSL_cleanse(text.data(), text.size()); }
};

pkey_handle key_in(const named_text& file, const credential_options& options) {
    const auto& [name, pem] = file;
    passphrase_request request{options, name};
    check_cipher(pem, name, options.scope);
    // Behind other blocks OpenSSL finds the key, but may give it to no provider.
    const auto label = pem.find("PRIVATE KEY-----");
    const auto begin = label != std::string_view::npos ? pem.rfind("-----BEGIN ", label) : 0;
    const std::string_view block = std::string_view(pem).substr(begin != std::string_view::npos ? begin : 0);
    const bio_handle in(BIO_new_mem_buf(block.data(), static_cast<int>(block.size())));
    pkey_handle key;
    if (in != nullptr && is_pem(pem))
        key.reset(PEM_read_bio_PrivateKey_ex(in.get(), nullptr, give_passphrase, &request, options.scope.libctx,
                                             options.scope.properties));
    else if (in != nullptr)
        key = key_in_der(in.get(), request);
    if (key != nullptr) return key;
    if (!request.asked) not_a_key(pem, name);
    key_failed(request, false);
}

struct store_freed {
    void operator()(OSSL_STORE_CTX* store) const noexcept { OSSL_STORE_close(store); }
};

pkey_handle key_from_uri(const std::string& uri, const credential_options& options) {
    const std::string name = without_pin(uri);
    passphrase_request request{options, name};
    ERR_clear_error();
    const no_prompt nobody_is_asked;
    const std::unique_ptr<UI_METHOD, freed_by<UI_destroy_method>> no_terminal(
        UI_UTIL_wrap_read_pem_callback(give_passphrase, 0));
    if (no_terminal == nullptr) throw error(errc::openssl, name + ": out of memory" + without_pin(drain_errors()));
    const std::unique_ptr<OSSL_STORE_CTX, store_freed> store(
        OSSL_STORE_open_ex(uri.c_str(), options.scope.libctx, options.scope.properties, no_terminal.get(), &request,
                           nullptr, nullptr, nullptr));
    if (store == nullptr) {
        const std::string words = without_pin(drain_errors());
        const std::string scheme = uri.substr(0, uri.find(':'));
        const std::unique_ptr<OSSL_STORE_LOADER, freed_by<OSSL_STORE_LOADER_free>> loader(
            OSSL_STORE_LOADER_fetch(options.scope.libctx, scheme.c_str(), options.scope.properties));
        ERR_clear_error();
        if (loader == nullptr)
            throw error(errc::unreadable,
                        name + ": no provider of OpenSSL that is loaded here has keys of " + scheme + ":",
                        "load the one that has in OpenSSL's configuration: openssl list -store-loaders shows them");
        throw error(errc::unreadable, name + ": cannot be opened" + words, "look at what it names");
    }
    OSSL_STORE_expect(store.get(), OSSL_STORE_INFO_PKEY);
    while (OSSL_STORE_eof(store.get()) == 0) {
        const std::unique_ptr<OSSL_STORE_INFO, freed_by<OSSL_STORE_INFO_free>> found(OSSL_STORE_load(store.get()));
        if (found != nullptr && OSSL_STORE_INFO_get_type(found.get()) == OSSL_STORE_INFO_PKEY)
            return pkey_handle(OSSL_STORE_INFO_get1_PKEY(found.get()));
        if (found == nullptr && OSSL_STORE_error(store.get()) == 1) break;
    }
    key_failed(request, nobody_is_asked.refused());
}

//= RCA-7
std::string checked_provider(const EVP_PKEY* key, const std::string& what, const credential_options& options) {
    const OSSL_PROVIDER* provider = EVP_PKEY_get0_provider(key);
    std::string name = provider != nullptr ? OSSL_PROVIDER_get0_name(provider) : "legacy";
    if (std::ranges::find(options.providers, name) != options.providers.end()) return name;
    throw error(errc::provider,
                what + ": the key is in " + (provider != nullptr ? "provider \"" + name + "\"" : "no provider") +
                    ", which is not on the list of those that never ask a person",
                "if it never does, add \"" + name + "\" to credential_options::providers", "RCA-7");
}

std::string group_of(const EVP_PKEY* key) {
    std::array<char, 64> group{};
    std::size_t size = 0;
    if (EVP_PKEY_is_a(key, "EC") != 1 || EVP_PKEY_get_group_name(key, group.data(), group.size(), &size) != 1)
        return {};
    return group.data();
}

// OpenSSL signs with such a key, and no peer's OpenSSL takes its certificate in a chain.
bool has_curve_in_full(const EVP_PKEY* key) {
    int in_full = 0;
    return EVP_PKEY_is_a(key, "EC") == 1 &&
           EVP_PKEY_get_int_param(key, OSSL_PKEY_PARAM_EC_DECODED_FROM_EXPLICIT_PARAMS, &in_full) == 1 && in_full != 0;
}

// For messages: "EC key on brainpoolP256r1".
std::string kind_of(const EVP_PKEY* key) {
    const char* type = EVP_PKEY_get0_type_name(key);
    const std::string kind = std::string(type != nullptr ? type : "unknown") + " key";
    if (has_curve_in_full(key)) return kind + " with the parameters of its curve in full";
    const std::string group = group_of(key);
    return kind + (group.empty() ? "" : " on ") + group;
}

// Those with which a request is compared. Whether OpenSSL can use the key at all is what `proves` asks.
std::vector<std::uint16_t> schemes_for(const EVP_PKEY* key) {
    struct row {
        const char* type;
        const char* group;
        std::vector<std::uint16_t> schemes;
    };
    static const std::vector<row> rows = {
        {"RSA", nullptr, {0x0804, 0x0805, 0x0806}},
        {"RSA-PSS", nullptr, {0x0809, 0x080a, 0x080b}},
        {"EC", "prime256v1", {0x0403}},
        {"EC", "secp384r1", {0x0503}},
        {"EC", "secp521r1", {0x0603}},
        {"EC", "brainpoolP256r1", {0x081a}},
        {"EC", "brainpoolP384r1", {0x081b}},
        {"EC", "brainpoolP512r1", {0x081c}},
        {"ED25519", nullptr, {0x0807}},
        {"ED448", nullptr, {0x0808}},
        {"ML-DSA-44", nullptr, {0x0904}},
        {"ML-DSA-65", nullptr, {0x0905}},
        {"ML-DSA-87", nullptr, {0x0906}},
    };
    const std::string group = group_of(key);
    const auto found = std::ranges::find_if(rows, [&](const row& one) {
        return EVP_PKEY_is_a(key, one.type) == 1 && (one.group == nullptr || group == one.group);
    });
    return found != rows.end() ? found->schemes : std::vector<std::uint16_t>();
}

//= RCA-6
void check_validity(loaded_credential& loaded, const X509& certificate, const std::string& what,
                    const credential_options& options) {
    const ASN1_TIME* begin = X509_get0_notBefore(&certificate);
    const ASN1_TIME* end = X509_get0_notAfter(&certificate);
    const auto from = seconds_of(begin);
    const auto until = seconds_of(end);
    if (!from || !until)
        throw error(errc::malformed, what + ": the certificate's validity cannot be read" + drain_errors(),
                    "replace it");
    loaded.not_before = *from;
    loaded.not_after = *until;
    loaded.outside_validity = options.outside_validity;
    const std::int64_t now = std::time(nullptr);
    if (loaded.valid(now)) return;
    throw error(errc::outside_validity,
                what + (now < loaded.not_before ? ": the certificate is not valid before " + time_text(begin)
                                                : ": the certificate expired at " + time_text(end)),
                "get a new one, or look at this machine's clock");
}

// A handshake of TLS 1.3 with ourselves, in which the certificate is the server's. So OpenSSL says whether it has a signature
// scheme for the key, whether the key is private, and whether what it signs verifies with the certificate.
bool proves(X509* certificate, EVP_PKEY* key, const openssl_scope& scope) {
    const std::unique_ptr<SSL_CTX, freed_by<SSL_CTX_free>> context(
        SSL_CTX_new_ex(scope.libctx, scope.properties, TLS_method()));
    if (context == nullptr) return false;
    // What OpenSSL's configuration says of them is the business of the SSL_CTX to which a client is attached.
    SSL_CTX_set_security_level(context.get(), 0);
    SSL_CTX_clear_options(context.get(), SSL_OP_NO_TLSv1_3);
    SSL_CTX_set_verify(context.get(), SSL_VERIFY_NONE, nullptr); // a server has to prove its key even so
    const ssl_handle client(SSL_new(context.get()));
    const ssl_handle server(SSL_new(context.get()));
    BIO* of_client = nullptr;
    BIO* of_server = nullptr;
    if (client == nullptr || server == nullptr || BIO_new_bio_pair(&of_client, 0, &of_server, 0) != 1) return false;
    SSL_set_bio(client.get(), of_client, of_client);
    SSL_set_bio(server.get(), of_server, of_server);
    SSL_set_connect_state(client.get());
    SSL_set_accept_state(server.get());
    for (SSL* one : {client.get(), server.get()})
        if (SSL_set_min_proto_version(one, TLS1_3_VERSION) != 1 || SSL_set_max_proto_version(one, 0) != 1) return false;
    if (SSL_use_cert_and_key(server.get(), certificate, key, nullptr, 1) != 1) return false;
    for (int flight = 0; flight < 8 && SSL_is_init_finished(client.get()) == 0; ++flight)
        for (SSL* one : {client.get(), server.get()})
            if (SSL_do_handshake(one) != 1 && SSL_want_read(one) == 0 && SSL_want_write(one) == 0) return false;
    return SSL_is_init_finished(client.get()) == 1;
}

std::shared_ptr<loaded_credential> fit(x509_handle certificate, std::span<X509* const> chain, pkey_handle key,
                                       const std::string& certificate_name, const std::string& key_name,
                                       const credential_options& options) {
    ERR_clear_error();
    auto loaded = std::make_shared<loaded_credential>();
    loaded->provider = checked_provider(key.get(), key_name, options);
    check_validity(*loaded, *certificate, certificate_name, options);
    loaded->thumbprint = sha256(*certificate);
    EVP_PKEY* certified = X509_get0_pubkey(certificate.get());
    if (certified == nullptr)
        throw error(errc::key_unusable,
                    certificate_name + ": the certificate's public key cannot be read" + drain_errors(), "replace it");
    const auto matches = [&](X509* one) { return EVP_PKEY_eq(X509_get0_pubkey(one), key.get()) == 1; };
    if (const auto leaf = std::ranges::find_if(chain, matches); !matches(certificate.get()) && leaf != chain.end())
        throw error(errc::key_unusable,
                    certificate_name + ": begins with " + name_text(X509_get_subject_name(certificate.get())) +
                        ", and the key is that of " + name_text(X509_get_subject_name(*leaf)) + " further down",
                    "the leaf has to come first, then the CA that issued it");
    if (!matches(certificate.get()))
        throw error(errc::key_unusable,
                    key_name + ": is not the key of the certificate in " + certificate_name + drain_errors(),
                    "give the pair that belongs together");
    //= RCA-6
    const no_prompt nobody_is_asked;
    if (const bool proven = !has_curve_in_full(certified) && proves(certificate.get(), key.get(), options.scope);
        nobody_is_asked.refused())
        //= RCA-7
        throw error(errc::passphrase,
                    key_name + ": each signature asks for a passphrase or PIN, and nobody is asked" +
                        without_pin(drain_errors()),
                    "give it in OpenSSL's configuration, if the provider takes it there, or take another key");
    else if (!proven)
        throw error(errc::key_unusable,
                    key_name + ": this OpenSSL can make no signature of TLS 1.3 with this " + kind_of(certified) +
                        drain_errors(),
                    "give the private half of one on P-256, P-384 or P-521, of RSA or of Ed25519");
    loaded->schemes = schemes_for(certified);
    loaded->key_digest = key_digest(*certified);
    loaded->chain.reset(sk_X509_new_null());
    if (loaded->chain == nullptr) throw error(errc::openssl, certificate_name + ": out of memory" + drain_errors());
    for (X509* issuer : chain) {
        x509_handle held = reference(issuer);
        // OpenSSL reads it once, and looks at it where the certificate goes out.
        if (EVP_PKEY* of_issuer = X509_get0_pubkey(issuer);
            of_issuer == nullptr || EVP_PKEY_get_security_bits(of_issuer) <= 0)
            throw error(errc::malformed,
                        certificate_name + ": the public key of " + name_text(X509_get_subject_name(issuer)) +
                            " in its chain cannot be read" + drain_errors(),
                        "replace it");
        if (sk_X509_push(loaded->chain.get(), held.get()) == 0)
            throw error(errc::openssl, certificate_name + ": out of memory");
        (void)held.release();
    }
    loaded->certificate = std::move(certificate);
    loaded->key = std::move(key);
    return loaded;
}

std::shared_ptr<loaded_credential> fit_text(const named_text& file, pkey_handle key, const std::string& key_name,
                                            const credential_options& options) {
    auto certificates = objects_in(file.text, file.name, wanted::own_certificates, options.scope).certificates;
    std::vector<X509*> chain;
    for (std::size_t i = 1; i < certificates.size(); ++i) chain.push_back(certificates[i].get());
    return fit(std::move(certificates.front()), chain, std::move(key), file.name, key_name, options);
}

} // namespace

sha256_digest key_digest(const EVP_PKEY& key) {
    const auto failed = [] { return error(errc::openssl, "a public key cannot be read" + drain_errors()); };
    const auto of_numbers = [&](const char* kind, std::initializer_list<const char*> names) {
        hash all(kind);
        for (const char* name : names) {
            BIGNUM* number = nullptr;
            if (EVP_PKEY_get_bn_param(&key, name, &number) != 1) throw failed();
            const std::unique_ptr<BIGNUM, freed_by<BN_clear_free>> held(number);
            std::string octets(static_cast<std::size_t>(BN_num_bytes(number)), '\0');
            BN_bn2bin(number, reinterpret_cast<unsigned char*>(octets.data()));
            all.add(octets);
        }
        return all.end();
    };
    // A point has three encodings, and RSA-PSS keys are RSA keys.
    if (EVP_PKEY_is_a(&key, "EC") == 1 || EVP_PKEY_is_a(&key, "SM2") == 1)
        return of_numbers("libreqauth EC key 1", {OSSL_PKEY_PARAM_EC_PUB_X, OSSL_PKEY_PARAM_EC_PUB_Y});
    if (EVP_PKEY_is_a(&key, "RSA") == 1 || EVP_PKEY_is_a(&key, "RSA-PSS") == 1)
        return of_numbers("libreqauth RSA key 1", {OSSL_PKEY_PARAM_RSA_N, OSSL_PKEY_PARAM_RSA_E});
    unsigned char* der = nullptr;
    const int size = i2d_PUBKEY(&key, &der);
    if (size <= 0) throw failed();
    const std::unique_ptr<unsigned char, freed_by<[](unsigned char* octets) { OPENSSL_free(octets); }>> held(der);
    return hash("libreqauth key 1").add({reinterpret_cast<const char*>(der), static_cast<std::size_t>(size)}).end();
}

//= RCA-5
bool loaded_credential::named_by(SSL* ssl) const noexcept {
    const STACK_OF(X509_NAME)* authorities = SSL_get0_peer_CA_list(ssl);
    if (authorities == nullptr || sk_X509_NAME_num(authorities) <= 0) return true;
    const auto named = [&](X509* one) {
        for (int i = 0; i < sk_X509_NAME_num(authorities); ++i)
            if (X509_NAME_cmp(sk_X509_NAME_value(authorities, i), X509_get_issuer_name(one)) == 0) return true;
        return false;
    };
    bool met = named(certificate.get());
    for (int i = 0; !met && i < sk_X509_num(chain.get()); ++i) met = named(sk_X509_value(chain.get(), i));
    return met;
}

bool loaded_credential::signs_for(SSL* ssl) const noexcept {
    if (schemes.empty()) return true; // a kind of key that we do not know: OpenSSL judges it
    const int offered = SSL_get_sigalgs(ssl, -1, nullptr, nullptr, nullptr, nullptr, nullptr);
    for (int i = 0; i < offered; ++i) {
        unsigned char low = 0;
        unsigned char high = 0;
        SSL_get_sigalgs(ssl, i, nullptr, nullptr, nullptr, &low, &high);
        if (std::ranges::find(schemes, static_cast<std::uint16_t>(high << 8U | low)) != schemes.end()) return true;
    }
    return false;
}

} // namespace detail

credential credential::from_files(const std::filesystem::path& certificate, const std::filesystem::path& key,
                                  const credential_options& options) {
    const detail::cleansed of_key(key);
    auto made = detail::key_in(of_key, options);
    // One file for both is read once: it may be a pipe.
    named_text apart;
    if (certificate != key) {
        apart.name = certificate.string();
        apart.text = detail::read_file(certificate);
    }
    const named_text& of_certificate = certificate == key ? static_cast<const named_text&>(of_key) : apart;
    const auto loaded = detail::fit_text(of_certificate, std::move(made), of_key.name, options);
    loaded->from = detail::credential_files{certificate, key.string(), false, options};
    return credential(loaded);
}

credential credential::from_texts(const named_text& certificate, const named_text& key,
                                  const credential_options& options) {
    return credential(detail::fit_text(certificate, detail::key_in(key, options), key.name, options));
}

credential credential::from_uri(const std::filesystem::path& certificate, const std::string& key_uri,
                                const credential_options& options) {
    auto key = detail::key_from_uri(key_uri, options);
    const auto loaded = detail::fit_text({certificate.string(), detail::read_file(certificate)}, std::move(key),
                                         detail::without_pin(key_uri), options);
    loaded->from = detail::credential_files{certificate, key_uri, true, options};
    return credential(loaded);
}

credential credential::from_objects(X509& certificate, EVP_PKEY& key, std::span<X509* const> chain,
                                    const credential_options& options) {
    return credential(detail::fit(detail::reference(&certificate), chain, detail::reference(&key),
                                  "the certificate handed over", "the key handed over", options));
}

std::string credential::subject() const { return detail::name_text(X509_get_subject_name(holder_->certificate.get())); }
const std::array<std::uint8_t, 32>& credential::thumbprint() const noexcept { return holder_->thumbprint; }
const std::string& credential::provider() const noexcept { return holder_->provider; }
std::chrono::system_clock::time_point credential::not_after() const noexcept {
    return detail::time_point(holder_->not_after);
}

} // namespace reqauth
