include $(sort $(wildcard $(BR2_EXTERNAL_FLEDERMAUSLAND_PATH)/package/*/*.mk))

# The original's form: the kernel carries the whole root. Buildroot would link every single file of it into the kernel and leave it
# in memory; init wants its own program, and the system image that it copies to the card, in one file.
ifeq ($(BR2_TARGET_ROOTFS_INITRAMFS)$(BR2_PACKAGE_FLEDERMAUS_INIT),yy)
define FLEDERMAUSLAND_LINK_THE_SYSTEM
	find $(TARGET_DIR) -mindepth 1 -maxdepth 1 ! -name dev -exec rm -rf {} +
	mkdir -p $(addprefix $(TARGET_DIR)/,dev proc sys run tmp mnt newroot etc)
	$(INSTALL) -m 0755 $(BASE_TARGET_DIR)/usr/sbin/fledermaus-init $(TARGET_DIR)/init
	$(INSTALL) -m 0644 $(BINARIES_DIR)/rootfs.squashfs $(TARGET_DIR)/system.squashfs
endef
ROOTFS_CPIO_PRE_GEN_HOOKS += FLEDERMAUSLAND_LINK_THE_SYSTEM
# Buildroot has read the file system's own list of dependencies by now.
$(BINARIES_DIR)/rootfs.cpio: rootfs-squashfs
endif
