################################################################################
#
# fledermaus-agent
#
################################################################################

FLEDERMAUS_AGENT_VERSION = local
FLEDERMAUS_AGENT_SITE = $(BR2_EXTERNAL_FLEDERMAUSLAND_PATH)/..
FLEDERMAUS_AGENT_SITE_METHOD = local
FLEDERMAUS_AGENT_LICENSE = Apache-2.0 or MIT
FLEDERMAUS_AGENT_LICENSE_FILES = LICENSE LICENSE-APACHE LICENSE-MIT
# What cargo built before in the repository is large, and for another compiler.
FLEDERMAUS_AGENT_OVERRIDE_SRCDIR_RSYNC_EXCLUSIONS = --exclude /target --exclude /.cache

# The repository's own profile for nodes: small first. Buildroot's settings of
# the profile "release", from which it inherits, stay where it says nothing.
# No libraries at run time: init starts before there are any.
FLEDERMAUS_AGENT_CARGO_ENV = \
	CARGO_TARGET_$(call UPPERCASE,$(RUSTC_TARGET_NAME))_RUSTFLAGS="-C target-feature=+crt-static"

# A local site has no download step, in which Buildroot would vendor the crates.
# They come into the download folder here, as Cargo.lock names them; a build that
# finds them there asks nobody.
define FLEDERMAUS_AGENT_FETCH_CRATES
	cd $(@D) && \
	$(TARGET_MAKE_ENV) $(PKG_CARGO_ENV) \
		cargo fetch --locked --target $(RUSTC_TARGET_NAME)
endef
FLEDERMAUS_AGENT_PRE_BUILD_HOOKS += FLEDERMAUS_AGENT_FETCH_CRATES

define FLEDERMAUS_AGENT_BUILD_CMDS
	cd $(@D) && \
	$(TARGET_MAKE_ENV) $(TARGET_CONFIGURE_OPTS) \
		$(PKG_CARGO_ENV) $(FLEDERMAUS_AGENT_CARGO_ENV) \
		cargo build --offline --locked --profile node --package agent
endef

define FLEDERMAUS_AGENT_INSTALL_TARGET_CMDS
	$(INSTALL) -D -m 0755 \
		$(@D)/target/$(RUSTC_TARGET_NAME)/node/fledermaus-agent \
		$(TARGET_DIR)/usr/sbin/fledermaus-agent
endef

$(eval $(cargo-package))
