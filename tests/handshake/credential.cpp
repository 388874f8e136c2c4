// SPDX-License-Identifier: Apache-2.0
// Credentials: loaded without a person, or an error (RCA-6, RCA-7).

#include "catch.hpp"
#include "support/contexts.hpp"

#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/dsa.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/provider.h>
#include <openssl/rsa.h>
#include <openssl/store.h>
#include <openssl/ui.h>

#include <fcntl.h>
#include <pty.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

using namespace support;
using reqauth::credential;
using reqauth::errc;

namespace {

const temporary_directory& files() {
    static const temporary_directory here;
    return here;
}
std::filesystem::path agent_certificate() { return files().write("agent.pem", pem(*the_cast().agent.certificate)); }
std::filesystem::path agent_key() { return files().write("agent.key", pem(*the_cast().agent.key)); }
std::filesystem::path encrypted_key() {
    return files().write("encrypted.key", pem(*the_cast().agent.key, "open sesame"));
}

void check_is_the_agent(const credential& made) {
    reqauth::client_policy policy;
    policy.credential = made;
    const auto client = attached_client(policy);
    const auto server = attached_server(demanding());
    pair both(*server, *client);
    CHECK(both.shake());
    CHECK(seen(both) == "flagged CN=crawler.example");
}

reqauth::credential_options answering(std::optional<std::string> passphrase, std::string* asked_for = nullptr) {
    reqauth::credential_options options;
    options.passphrase = [=](const std::string& what) {
        if (asked_for != nullptr) *asked_for = what;
        return passphrase;
    };
    return options;
}

/// at_a_terminal runs `call` in a process whose terminal, standard streams included, is one of ours.
/// What it wrote there ends the process.
struct at_a_terminal {
    explicit at_a_terminal(const std::function<int()>& call) {
        int terminal = -1;
        const pid_t child = forkpty(&terminal, nullptr, nullptr, nullptr);
        if (child < 0) throw std::runtime_error("forkpty failed");
        if (child == 0) {
            int result = 255;
            try {
                result = call();
            } catch (...) {}
            _exit(result);
        }
        char buffer[256];
        const ssize_t got = read(terminal, buffer, sizeof buffer); // or the end, when the child has gone
        if (got > 0) {
            written.assign(buffer, static_cast<std::size_t>(got));
            kill(child, SIGKILL); // it waits for somebody to type
        }
        int state = 0;
        waitpid(child, &state, 0);
        close(terminal);
        if (WIFEXITED(state)) result = WEXITSTATUS(state);
    }
    std::string written;
    int result = -1;
};

/// asking_provider has keys at "asks:…", and asks for their PIN by OpenSSL's default UI_METHOD, whatever callback it is
/// given: as pkcs11-provider 1.0 does.
class asking_provider {
public:
    asking_provider() : context_(OSSL_LIB_CTX_new(), &OSSL_LIB_CTX_free) {
        if (OSSL_PROVIDER_add_builtin(context(), "asking", begin) != 1 ||
            OSSL_PROVIDER_load(context(), "asking") == nullptr || OSSL_PROVIDER_load(context(), "default") == nullptr)
            throw std::runtime_error("the provider cannot be loaded");
    }
    OSSL_LIB_CTX* context() const { return context_.get(); }

private:
    using function = void (*)();

    static int begin(const OSSL_CORE_HANDLE*, const OSSL_DISPATCH*, const OSSL_DISPATCH** functions, void** provider) {
        static const OSSL_DISPATCH ours[] = {{OSSL_FUNC_PROVIDER_QUERY_OPERATION, reinterpret_cast<function>(query)},
                                             {0, nullptr}};
        static int there;
        *functions = ours;
        *provider = &there;
        return 1;
    }
    static const OSSL_ALGORITHM* query(void*, int operation, int*) {
        static const OSSL_DISPATCH store[] = {{OSSL_FUNC_STORE_OPEN, reinterpret_cast<function>(open)},
                                              {OSSL_FUNC_STORE_LOAD, reinterpret_cast<function>(load)},
                                              {OSSL_FUNC_STORE_EOF, reinterpret_cast<function>(eof)},
                                              {OSSL_FUNC_STORE_CLOSE, reinterpret_cast<function>(close)},
                                              {0, nullptr}};
        static const OSSL_ALGORITHM stores[] = {{"asks", "provider=asking", store, nullptr},
                                                {nullptr, nullptr, nullptr, nullptr}};
        return operation == OSSL_OP_STORE ? stores : nullptr;
    }
    static void* open(void*, const char*) { return new bool(false); }
    static int load(void* at_end, OSSL_CALLBACK*, void*, OSSL_PASSPHRASE_CALLBACK*, void*) {
        *static_cast<bool*>(at_end) = true;
        char pin[16] = "";
        UI* ui = UI_new_method(nullptr);
        char* prompt = UI_construct_prompt(ui, "PIN", "the token");
        if (UI_add_input_string(ui, prompt, 0, pin, 0, sizeof pin - 1) >= 0) UI_process(ui);
        UI_free(ui);
        OPENSSL_free(prompt);
        return 0;
    }
    static int eof(void* at_end) { return *static_cast<bool*>(at_end) ? 1 : 0; }
    static int close(void* at_end) {
        delete static_cast<bool*>(at_end);
        return 1;
    }

    std::unique_ptr<OSSL_LIB_CTX, decltype(&OSSL_LIB_CTX_free)> context_;
};

} // namespace

TEST_CASE("credential / from_files / PEM certificate, chain and key, in two files or one -> used",
          "[handshake][valgrind][RCA-6]") {
    check_is_the_agent(credential::from_files(agent_certificate(), agent_key()));
    const auto both = files().write("both.pem", pem(*the_cast().agent.key) + pem(*the_cast().agent.certificate) +
                                                    pem(*the_cast().agents_ca.certificate));
    check_is_the_agent(credential::from_files(both, both));
}

TEST_CASE("credential / from_files / a chain in the file -> sent", "[handshake]") {
    const auto intermediate = issue({.common_name = "Agents CA 2", .ca = true}, &the_cast().agents_ca);
    const auto agent = issue(agent_description("deep.example"), &intermediate);
    reqauth::client_policy policy;
    policy.credential =
        credential::from_files(files().write("deep.pem", pem(*agent.certificate) + pem(*intermediate.certificate)),
                               files().write("deep.key", pem(*agent.key)));
    const auto client = attached_client(policy);
    const auto server = attached_server(demanding());
    pair both(*server, *client);
    CHECK(both.shake());
    CHECK(seen(both) == "flagged CN=deep.example");
}

TEST_CASE("credential / from_objects / certificate and key of the application -> used, and still the application's",
          "[handshake][RCA-6]") {
    auto agent = issue(agent_description("crawler.example"), &the_cast().agents_ca);
    const credential made = credential_of(agent);
    agent.certificate.reset();
    agent.key.reset();
    check_is_the_agent(made);
}

TEST_CASE("credential / from_uri / file: URI -> used", "[handshake][RCA-6]") {
    check_is_the_agent(credential::from_uri(agent_certificate(), "file:" + agent_key().string()));
    std::string asked_for;
    check_is_the_agent(credential::from_uri(agent_certificate(), "file:" + encrypted_key().string(),
                                            answering("open sesame", &asked_for)));
    CHECK(asked_for.find("encrypted.key") != std::string::npos);
}

TEST_CASE("credential / encrypted key / passphrase by callback -> used; wrong or none -> passphrase error",
          "[handshake][valgrind][RCA-7]") {
    std::string asked_for;
    check_is_the_agent(
        credential::from_files(agent_certificate(), encrypted_key(), answering("open sesame", &asked_for)));
    CHECK(asked_for.find("encrypted.key") != std::string::npos);
    for (const auto& options : {reqauth::credential_options{}, answering(std::nullopt), answering("wrong"),
                                answering(""), answering(std::string(5000, 'x'))}) {
        std::string text;
        CHECK(failure_of([&] { (void)credential::from_files(agent_certificate(), encrypted_key(), options); }, &text) ==
              errc::passphrase);
        CHECK(text.find("encrypted.key") != std::string::npos);
        CHECK(text.find('\n') == std::string::npos);
        CHECK(text.find("sesame") == std::string::npos);
        CHECK(failure_of([&] {
                  (void)credential::from_uri(agent_certificate(), "file:" + encrypted_key().string(), options);
              }) == errc::passphrase);
    }
}

TEST_CASE("credential / encrypted key, no passphrase, at a terminal -> nothing written to it, nothing read",
          "[handshake][RCA-7]") {
    const int terminals = posix_openpt(O_RDWR | O_NOCTTY);
    if (terminals < 0) SKIP_BECAUSE("no pseudo-terminal is to be had here: is /dev/pts mounted?");
    close(terminals);
    const auto certificate = agent_certificate();
    const auto key = encrypted_key();
    // The check can see a prompt: OpenSSL's own reader makes one.
    const at_a_terminal control([&] {
        const owned<BIO> file(BIO_new_file(key.c_str(), "r"));
        return PEM_read_bio_PrivateKey(file.get(), nullptr, nullptr, nullptr) != nullptr ? 1 : 2;
    });
    CHECK(control.written.find("pass phrase") != std::string::npos);

    for (const bool by_uri : {false, true})
        for (const bool refusing : {false, true}) {
            CAPTURE(by_uri, refusing);
            const at_a_terminal ours([&] {
                const auto options = refusing ? answering(std::nullopt) : reqauth::credential_options{};
                const auto failure = failure_of([&] {
                    if (by_uri)
                        (void)credential::from_uri(certificate, "file:" + key.string(), options);
                    else
                        (void)credential::from_files(certificate, key, options);
                });
                return failure == errc::passphrase ? 42 : 1;
            });
            CHECK(ours.written.empty());
            CHECK(ours.result == 42);
        }
}

TEST_CASE(
    "credential / from_uri / a provider that asks on its own, at a terminal -> nothing written to it, nothing read",
    "[handshake][RCA-7]") {
    const int terminals = posix_openpt(O_RDWR | O_NOCTTY);
    if (terminals < 0) SKIP_BECAUSE("no pseudo-terminal is to be had here: is /dev/pts mounted?");
    close(terminals);
    const auto certificate = agent_certificate();
    const auto refused = [&](const asking_provider& provider) {
        reqauth::credential_options options;
        options.providers.emplace_back("asking");
        options.scope.libctx = provider.context();
        return failure_of([&] { (void)credential::from_uri(certificate, "asks:key", options); }) == errc::passphrase;
    };
    const at_a_terminal ours([&] {
        const asking_provider provider;
        return refused(provider) ? 42 : 1;
    });
    CHECK(ours.written.empty());
    CHECK(ours.result == 42);
    // What is not ours asks as before, in its own words; and so the check can see a prompt.
    const at_a_terminal after([&] {
        const asking_provider provider;
        if (!refused(provider)) return 1;
        OSSL_STORE_CTX* store =
            OSSL_STORE_open_ex("asks:key", provider.context(), nullptr, nullptr, nullptr, nullptr, nullptr, nullptr);
        return store != nullptr && OSSL_STORE_load(store) != nullptr ? 2 : 3;
    });
    CHECK(after.written == "Enter PIN for the token:");
}

TEST_CASE("credential / key that is public only, or another certificate's -> key_unusable",
          "[handshake][RCA-6][RCA-7]") {
    const auto& agent = the_cast().agent;
    const auto public_only = public_half(*agent.key);
    CHECK(failure_of([&] { (void)credential::from_objects(*agent.certificate, *public_only); }) == errc::key_unusable);
    const auto public_file = files().write("public.key", public_pem(*agent.key));
    CHECK(failure_of([&] { (void)credential::from_files(agent_certificate(), public_file); }) == errc::key_unusable);
    CHECK(failure_of([&] { (void)credential::from_uri(agent_certificate(), "file:" + public_file.string()); }) ==
          errc::key_unusable);
    for (const key_type type : {key_type::p256, key_type::rsa, key_type::ed25519}) {
        const auto stranger = make_key(type);
        CHECK(failure_of([&] { (void)credential::from_objects(*agent.certificate, *stranger); }) == errc::key_unusable);
    }
    const auto other = files().write("other.key", pem(*the_cast().other_agent.key));
    std::string text;
    CHECK(failure_of([&] { (void)credential::from_files(agent_certificate(), other); }, &text) == errc::key_unusable);
    CHECK(text.find("other.key") != std::string::npos);
}

TEST_CASE("credential / key of a provider that nobody vouched for -> provider error, which names it",
          "[handshake][RCA-7]") {
    const auto& agent = the_cast().agent;
    for (const auto& allowed :
         std::vector<std::vector<std::string>>{{}, {"fips"}, {"pkcs11", "tpm2"}, {"Default"}, {""}}) {
        reqauth::credential_options options;
        options.providers = allowed;
        std::string text;
        CHECK(failure_of([&] { (void)credential::from_objects(*agent.certificate, *agent.key, {}, options); }, &text) ==
              errc::provider);
        CHECK(text.find("default") != std::string::npos);
        CHECK(failure_of([&] { (void)credential::from_files(agent_certificate(), agent_key(), options); }) ==
              errc::provider);
        CHECK(failure_of([&] {
                  (void)credential::from_uri(agent_certificate(), "file:" + agent_key().string(), options);
              }) == errc::provider);
    }
    reqauth::credential_options vouched;
    vouched.providers = {"tpm2", "default"};
    check_is_the_agent(credential::from_objects(*agent.certificate, *agent.key, {}, vouched));
}

TEST_CASE("credential / certificate that has expired, taken all the same -> sent, and the server refuses it",
          "[handshake][RCA-6]") {
    const auto& late = the_cast().expired_agent;
    CHECK(failure_of([&] { (void)credential::from_objects(*late.certificate, *late.key); }) == errc::outside_validity);
    reqauth::client_policy policy;
    reqauth::credential_options options;
    options.outside_validity = true;
    policy.credential = credential::from_objects(*late.certificate, *late.key, {}, options);
    const auto client = attached_client(policy);
    const auto server = attached_server(demanding());
    pair both(*server, *client);
    both.shake();
    CHECK(reqauth::client_outcome_of(*both.client.ssl).sent == reqauth::client_outcome::answer::flag);
    CHECK(alert_to_client(both) == "certificate expired");
}

TEST_CASE("credential / files that are missing, empty, malformed, swapped -> an error that names the file",
          "[handshake]") {
    const auto empty = files().write("empty.pem", "");
    const auto prose = files().write("prose.pem", "nothing here\n");
    std::string broken_text = pem(*the_cast().agent.certificate);
    broken_text[broken_text.size() / 2] = '*';
    const auto broken = files().write("broken.pem", broken_text);
    const auto half = files().write("half.pem", pem(*the_cast().agent.certificate) + broken_text);
    const auto missing = files().path() / "missing.pem";
    std::string text;
    CHECK(failure_of([&] { (void)credential::from_files(missing, agent_key()); }, &text) == errc::unreadable);
    CHECK(text.find("missing.pem") != std::string::npos);
    CHECK(failure_of([&] { (void)credential::from_files(agent_certificate(), missing); }) == errc::unreadable);
    for (const auto& file : {empty, prose, broken, half, agent_key()}) {
        CAPTURE(file.string());
        const auto expected = file == broken || file == half ? errc::malformed : errc::holds_nothing;
        CHECK(failure_of([&, &f = file] { (void)credential::from_files(f, agent_key()); }, &text) == expected);
        CHECK(text.find(file.filename().string()) != std::string::npos);
        CHECK(text.find('\n') == std::string::npos);
    }
    for (const auto& file : {empty, prose}) {
        const auto failure =
            failure_of([&, &f = file] { (void)credential::from_files(agent_certificate(), f); }, &text);
        CHECK((failure == errc::malformed || failure == errc::key_unusable));
        CHECK(text.find(file.filename().string()) != std::string::npos);
    }
    CHECK_NOTHROW(failure_of([&] { (void)credential::from_uri(agent_certificate(), "file:" + missing.string()); }));
    CHECK_NOTHROW(failure_of([&] { (void)credential::from_uri(agent_certificate(), "nosuchscheme:key"); }));
    CHECK(ERR_peek_error() == 0); // nothing is left behind for the application to trip over
}

namespace {

owned<EVP_PKEY> made(const char* type, const std::function<void(EVP_PKEY_CTX*)>& set = {}, EVP_PKEY* from = nullptr) {
    const std::unique_ptr<EVP_PKEY_CTX, decltype(&EVP_PKEY_CTX_free)> making(
        from != nullptr ? EVP_PKEY_CTX_new(from, nullptr) : EVP_PKEY_CTX_new_from_name(nullptr, type, nullptr),
        EVP_PKEY_CTX_free);
    EVP_PKEY* key = nullptr;
    if (making == nullptr || EVP_PKEY_keygen_init(making.get()) != 1) return nullptr;
    if (set) set(making.get());
    EVP_PKEY_generate(making.get(), &key);
    return owned<EVP_PKEY>(key);
}

owned<EVP_PKEY> on_curve(const char* name) { return owned<EVP_PKEY>(EVP_PKEY_Q_keygen(nullptr, nullptr, "EC", name)); }

owned<EVP_PKEY> pss(const char* digest, int salt) {
    return made("RSA-PSS", [&](EVP_PKEY_CTX* making) {
        const EVP_MD* md = EVP_get_digestbyname(digest);
        EVP_PKEY_CTX_set_rsa_pss_keygen_md(making, md);
        EVP_PKEY_CTX_set_rsa_pss_keygen_mgf1_md(making, md);
        EVP_PKEY_CTX_set_rsa_pss_keygen_saltlen(making, salt);
    });
}

owned<EVP_PKEY> in_full() {
    owned<EVP_PKEY> key = make_key();
    EVP_PKEY_set_utf8_string_param(key.get(), OSSL_PKEY_PARAM_EC_ENCODING, OSSL_PKEY_EC_ENCODING_EXPLICIT);
    return key;
}

owned<EVP_PKEY> dsa() {
    const std::unique_ptr<EVP_PKEY_CTX, decltype(&EVP_PKEY_CTX_free)> making(
        EVP_PKEY_CTX_new_from_name(nullptr, "DSA", nullptr), EVP_PKEY_CTX_free);
    EVP_PKEY* parameters = nullptr;
    EVP_PKEY_paramgen_init(making.get());
    EVP_PKEY_CTX_set_dsa_paramgen_bits(making.get(), 1024);
    EVP_PKEY_paramgen(making.get(), &parameters);
    const owned<EVP_PKEY> held(parameters);
    return made(nullptr, {}, parameters);
}

/// key_row is one kind of key. `refused` are words of the error; null: it works. `since` is OpenSSL's first version with
/// it: before that there is no such key, or where `refused_before` is set, none that TLS 1.3 can use.
struct key_row {
    const char* name;
    std::function<owned<EVP_PKEY>()> make;
    const char* refused = nullptr;
    unsigned long since = 0;
    const char* refused_before = nullptr;
};

const key_row keys[] = {
    {"RSA", [] { return make_key(key_type::rsa); }},
    {"P-256", [] { return on_curve("P-256"); }},
    {"P-384", [] { return on_curve("P-384"); }},
    {"P-521", [] { return on_curve("P-521"); }},
    {"Ed25519", [] { return made("ED25519"); }},
    {"Ed448", [] { return made("ED448"); }},
    {"RSA-PSS", [] { return made("RSA-PSS"); }},
    {"RSA-PSS of SHA-256", [] { return pss("SHA256", 32); }},
    {"RSA-PSS of SHA-384", [] { return pss("SHA384", 48); }},
    {"RSA-PSS of SHA-512", [] { return pss("SHA512", 20); }},
    {"RSA-PSS of SHA-1", [] { return pss("SHA1", 20); }, "RSA-PSS key"},
    {"RSA-PSS of SHA-256, longer salt", [] { return pss("SHA256", 48); }, "RSA-PSS key"},
    {"ML-DSA-44", [] { return made("ML-DSA-44"); }, nullptr, 0x30500000L},
    {"ML-DSA-65", [] { return made("ML-DSA-65"); }, nullptr, 0x30500000L},
    {"ML-DSA-87", [] { return made("ML-DSA-87"); }, nullptr, 0x30500000L},
    {"brainpoolP256r1", [] { return on_curve("brainpoolP256r1"); }, nullptr, 0x30200000L, "EC key on brainpoolP256r1"},
    {"brainpoolP384r1", [] { return on_curve("brainpoolP384r1"); }, nullptr, 0x30200000L, "EC key on brainpoolP384r1"},
    {"brainpoolP512r1", [] { return on_curve("brainpoolP512r1"); }, nullptr, 0x30200000L, "EC key on brainpoolP512r1"},
    {"secp256k1", [] { return on_curve("secp256k1"); }, "EC key on secp256k1"},
    {"P-224", [] { return on_curve("P-224"); }, "EC key on secp224r1"},
    {"parameters in full", [] { return in_full(); }, "EC key with the parameters of its curve in full"},
    {"DSA", [] { return dsa(); }, "DSA key"},
};

} // namespace

TEST_CASE("credential / a key of each kind -> known by it, or an error at load that names the kind",
          "[handshake][RCA-6]") {
    ROWS(row.name, keys, const auto& row) {
        CAPTURE(row.name);
        const bool there = OpenSSL_version_num() >= row.since;
        const char* refused = there ? row.refused : row.refused_before;
        if (!there && refused == nullptr) {
            std::cout << "skipped: " << row.name << ": this OpenSSL has no such key\n";
            CHECK(row.make() == nullptr);
            continue;
        }
        const auto key = row.make();
        REQUIRE(key != nullptr);
        const auto odd = issue(agent_description("odd.example"), &the_cast().agents_ca, key.get());
        const auto both = files().write("odd.pem", pem(*odd.certificate) + pem(*odd.key));
        if (refused != nullptr) {
            std::string text;
            CHECK(failure_of([&] { (void)credential::from_files(both, both); }, &text) == errc::key_unusable);
            CAPTURE(text);
            CHECK(text.find("odd.pem: this OpenSSL can make no signature of TLS 1.3") != text.npos);
            CHECK(text.find(refused) != text.npos);
        } else {
            reqauth::client_policy policy;
            policy.credential = credential::from_files(both, both);
            const auto client = attached_client(policy);
            const auto server = attached_server(demanding());
            pair connection(*server, *client);
            CHECK(connection.shake());
            CHECK(seen(connection) == "flagged CN=odd.example");
        }
    }
}

TEST_CASE("client / attach, replace, reload / a security level that forbids key or chain -> key_unusable, and the old",
          "[handshake][RCA-6]") {
    struct {
        const char* name;
        int level;
        int bits_of_ca; ///< 0: P-256
        bool fits;
    } const rows[] = {{"level 2, RSA of 2048 bits", 2, 0, true},
                      {"level 3, RSA of 2048 bits", 3, 0, false},
                      {"level 2, its CA has 1024 bits", 2, 1024, false},
                      {"level 1, its CA has 1024 bits", 1, 1024, true}};
    ROWS(row.name, rows, const auto& row) {
        CAPTURE(row.name);
        const owned<EVP_PKEY> small(
            row.bits_of_ca == 0 ? nullptr
                                : EVP_PKEY_Q_keygen(nullptr, nullptr, "RSA", static_cast<std::size_t>(row.bits_of_ca)));
        const auto ca = issue({.common_name = "Small CA", .ca = true}, &the_cast().agents_ca, small.get());
        auto about = agent_description("weak.example");
        about.key = key_type::rsa;
        const auto weak = issue(about, &ca);
        const auto good_files = pem(*the_cast().agent.certificate) + pem(*the_cast().agent.key);
        const auto weak_files = pem(*weak.certificate) + pem(*ca.certificate) + pem(*weak.key);
        const auto file = files().write("changing.pem", weak_files);
        const auto loaded = credential::from_files(file, file);

        const auto context = client_context();
        SSL_CTX_set_security_level(context.get(), row.level);
        reqauth::client_policy policy;
        policy.credential = loaded;
        files().write("changing.pem", good_files);
        policy.credential = credential::from_files(file, file);
        reqauth::client crawler(policy);
        crawler.attach(*context);
        files().write("changing.pem", weak_files);

        const auto other = client_context();
        SSL_CTX_set_security_level(other.get(), row.level);
        policy.credential = loaded;
        const std::pair<const char*, std::function<void()>> ways[] = {
            {"attach", [&] { reqauth::client(policy).attach(*other); }},
            {"replace", [&] { crawler.replace({loaded}); }},
            {"reload", [&] { crawler.reload(); }}};
        for (const auto& [name, way] : ways) {
            CAPTURE(name);
            if (row.fits)
                CHECK_NOTHROW(way());
            else
                CHECK(failure_of(way) == errc::key_unusable);
        }
        const auto server = attached_server(demanding());
        SSL_CTX_set_security_level(server.get(), 0);
        pair connection(*server, *context);
        CHECK(connection.shake());
        CHECK(seen(connection) == (row.fits ? "flagged CN=weak.example" : "flagged CN=crawler.example"));
    }
}

TEST_CASE("client / replace / its only SSL_CTX with a higher security level is gone -> taken", "[handshake][RCA-6]") {
    auto about = agent_description("weak.example");
    about.key = key_type::rsa;
    reqauth::client crawler(agent_policy());
    auto context = client_context();
    SSL_CTX_set_security_level(context.get(), 3);
    crawler.attach(*context);
    const auto weak = credential_of(issue(about, &the_cast().agents_ca));
    CHECK(failure_of([&] { crawler.replace({weak}); }) == errc::key_unusable);
    context.reset();
    CHECK_NOTHROW(crawler.replace({weak}));
}
