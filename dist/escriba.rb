# A Homebrew formula for the checkout it lies in: brew install --HEAD ./dist/escriba.rb
# Not verified on a Mac yet; docs/mlx.md names the one command that does.
class Escriba < Formula
  desc "Describes screen recordings with a local vision-language model"
  license "MIT"
  head "file://#{File.expand_path("..", __dir__)}", using: :git, branch: "main"

  depends_on "meson" => :build
  depends_on "ninja" => :build
  depends_on "pkgconf" => :build
  depends_on "cmocka" => [:build, :test]
  depends_on "ffmpeg"
  depends_on "jansson"
  depends_on "jpeg-turbo"
  depends_on "libmicrohttpd"
  depends_on "libpng"
  depends_on "mlx"
  depends_on "pcre2"
  depends_on "sqlite"
  depends_on "utf8proc"
  depends_on "webp"
  uses_from_macos "curl"
  uses_from_macos "python" => :build

  def install
    system "meson", "setup", "build", "-Dmlx=enabled", "-Dmlx_dir=#{Formula["mlx"].opt_prefix}", *std_meson_args
    system "meson", "compile", "-C", "build", "--verbose"
    system "meson", "install", "-C", "build"
  end

  service do
    run [opt_bin/"escriba", "serve"]
    keep_alive true
    log_path var/"log/escriba.log"
    error_log_path var/"log/escriba.log"
  end

  test do
    assert_match "mlx", shell_output("#{bin}/escriba doctor --json")
    system bin/"escriba", "inspect", share/"escriba/models/escriba-tiny"
  end
end
