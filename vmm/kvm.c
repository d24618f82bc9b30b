/* SPDX-License-Identifier: Apache-2.0 */
/* The only file that speaks to /dev/kvm. */
#include "kvm.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <sys/stat.h>

#include "util.h"

#define LOAD_HINT                                                              \
	"load it with 'modprobe kvm-intel' or 'modprobe kvm-amd', and see "    \
	"that virtualisation is on in the firmware"
#define GROUP_HINT                                                             \
	"join its group with 'sudo usermod -aG kvm $USER' and log in again"
#define OWNER_HINT                                                             \
	"only root may open it: give it to a group with 'sudo chown "          \
	"root:kvm /dev/kvm && sudo chmod 660 /dev/kvm', and join that with "   \
	"'sudo usermod -aG kvm $USER'"

static int call(int fd, unsigned long nr, const void *arg)
{
	int r = ioctl(fd, nr, arg);

	return r < 0 ? -errno : r;
}

static int call_value(int fd, unsigned long nr, unsigned long arg)
{
	int r = ioctl(fd, nr, arg);

	return r < 0 ? -errno : r;
}

/* What lets this user in depends on whom the device lets in at all. */
static const char *denied_hint(void)
{
	struct stat st;

	if (stat("/dev/kvm", &st) == 0 &&
	    (st.st_gid == 0 || (st.st_mode & 060) != 060))
		return OWNER_HINT;
	return GROUP_HINT;
}

int kvm_open(struct fail *why)
{
	_cleanup_close_ int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	int version;

	if (fd < 0 && (errno == EACCES || errno == EPERM))
		return fail_set(why, EXIT_DENIED, -errno, "/dev/kvm",
				denied_hint(), "permission denied");
	if (fd < 0)
		return fail_set(why, EXIT_OWN_FAILURE, -errno, "/dev/kvm",
				LOAD_HINT, "%s", strerror(errno));
	version = call_value(fd, KVM_GET_API_VERSION, 0);
	if (version != KVM_API_VERSION)
		return fail_set(why, EXIT_INCOMPATIBLE, -ENOTSUP, "/dev/kvm",
				"use a kernel of Linux 2.6.22 or newer",
				"KVM API version %d, not %d", version,
				KVM_API_VERSION);
	return steal_fd(&fd);
}

const char *kvm_back_end(void)
{
	if (!access("/sys/module/kvm_intel", F_OK))
		return "kvm-intel";
	if (!access("/sys/module/kvm_amd", F_OK))
		return "kvm-amd";
	return access("/sys/module/kvm_pvm", F_OK) ? NULL : KVM_PVM;
}

int kvm_check_extension(int kvm_or_vm, int cap)
{
	int r = call_value(kvm_or_vm, KVM_CHECK_EXTENSION, (unsigned long)cap);

	return MAX(r, 0);
}

int kvm_create_vm(int kvm)
{
	return call_value(kvm, KVM_CREATE_VM, 0);
}

int kvm_get_vcpu_mmap_size(int kvm)
{
	return call_value(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
}

int kvm_set_tss_addr(int vm, uint64_t addr)
{
	return call_value(vm, KVM_SET_TSS_ADDR, addr);
}

int kvm_set_identity_map_addr(int vm, uint64_t addr)
{
	return call(vm, KVM_SET_IDENTITY_MAP_ADDR, &addr);
}

int kvm_create_irqchip(int vm)
{
	return call_value(vm, KVM_CREATE_IRQCHIP, 0);
}

int kvm_irq_line(int vm, uint32_t gsi, int level)
{
	struct kvm_irq_level l = { .irq = gsi, .level = (uint32_t)level };

	return call(vm, KVM_IRQ_LINE, &l);
}

int kvm_ioeventfd(int vm, uint64_t addr, int event_fd)
{
	struct kvm_ioeventfd e = { .addr = addr, .len = 4, .fd = event_fd };

	return call(vm, KVM_IOEVENTFD, &e);
}

int kvm_enable_cap(int vm, uint32_t cap, uint64_t arg0)
{
	struct kvm_enable_cap c = { .cap = cap, .args = { arg0 } };

	return call(vm, KVM_ENABLE_CAP, &c);
}

int kvm_create_vcpu(int vm, unsigned id)
{
	return call_value(vm, KVM_CREATE_VCPU, id);
}

int kvm_run(int vcpu)
{
	return call_value(vcpu, KVM_RUN, 0);
}

size_t kvm_xsave_bytes(int vm)
{
	int bytes = kvm_check_extension(vm, KVM_CAP_XSAVE2);

	return MAX((size_t)bytes, sizeof(struct kvm_xsave));
}

/* The older call fills 4 KiB only, whatever the buffer's size; a kernel that
 * lacks the newer one has no state beyond that. */
int kvm_get_xsave(int vcpu, struct kvm_xsave *x)
{
	int r = call(vcpu, KVM_GET_XSAVE2, x);

	return r == -EINVAL || r == -ENOTTY ? call(vcpu, KVM_GET_XSAVE, x) : r;
}

int kvm_get_tsc_khz(int vcpu)
{
	return call_value(vcpu, KVM_GET_TSC_KHZ, 0);
}

int kvm_set_tsc_khz(int vcpu, uint32_t khz)
{
	return call_value(vcpu, KVM_SET_TSC_KHZ, khz);
}

int kvm_kvmclock_ctrl(int vcpu)
{
	return call_value(vcpu, KVM_KVMCLOCK_CTRL, 0);
}

/* The rest differ in nothing but their name and argument. */
#define KVM_IOCTL(fn, nr, T)                                                   \
	int fn(int fd, T *arg)                                                 \
	{                                                                      \
		return call(fd, nr, arg);                                      \
	}

KVM_IOCTL(kvm_get_supported_cpuid, KVM_GET_SUPPORTED_CPUID, struct kvm_cpuid2)
KVM_IOCTL(kvm_get_msr_index_list, KVM_GET_MSR_INDEX_LIST, struct kvm_msr_list)
KVM_IOCTL(kvm_set_user_memory_region, KVM_SET_USER_MEMORY_REGION,
	  const struct kvm_userspace_memory_region)
KVM_IOCTL(kvm_get_irqchip, KVM_GET_IRQCHIP, struct kvm_irqchip)
KVM_IOCTL(kvm_set_irqchip, KVM_SET_IRQCHIP, const struct kvm_irqchip)
KVM_IOCTL(kvm_set_cpuid2, KVM_SET_CPUID2, const struct kvm_cpuid2)
KVM_IOCTL(kvm_get_mp_state, KVM_GET_MP_STATE, struct kvm_mp_state)
KVM_IOCTL(kvm_set_mp_state, KVM_SET_MP_STATE, const struct kvm_mp_state)
KVM_IOCTL(kvm_get_regs, KVM_GET_REGS, struct kvm_regs)
KVM_IOCTL(kvm_set_regs, KVM_SET_REGS, const struct kvm_regs)
KVM_IOCTL(kvm_get_sregs, KVM_GET_SREGS, struct kvm_sregs)
KVM_IOCTL(kvm_set_sregs, KVM_SET_SREGS, const struct kvm_sregs)
KVM_IOCTL(kvm_set_xsave, KVM_SET_XSAVE, const struct kvm_xsave)
KVM_IOCTL(kvm_get_xcrs, KVM_GET_XCRS, struct kvm_xcrs)
KVM_IOCTL(kvm_set_xcrs, KVM_SET_XCRS, const struct kvm_xcrs)
KVM_IOCTL(kvm_get_debugregs, KVM_GET_DEBUGREGS, struct kvm_debugregs)
KVM_IOCTL(kvm_set_debugregs, KVM_SET_DEBUGREGS, const struct kvm_debugregs)
KVM_IOCTL(kvm_get_lapic, KVM_GET_LAPIC, struct kvm_lapic_state)
KVM_IOCTL(kvm_set_lapic, KVM_SET_LAPIC, const struct kvm_lapic_state)
KVM_IOCTL(kvm_get_vcpu_events, KVM_GET_VCPU_EVENTS, struct kvm_vcpu_events)
KVM_IOCTL(kvm_set_vcpu_events, KVM_SET_VCPU_EVENTS,
	  const struct kvm_vcpu_events)
KVM_IOCTL(kvm_get_msrs, KVM_GET_MSRS, struct kvm_msrs)
KVM_IOCTL(kvm_set_msrs, KVM_SET_MSRS, const struct kvm_msrs)
KVM_IOCTL(kvm_get_sregs2, KVM_GET_SREGS2, struct kvm_sregs2)
KVM_IOCTL(kvm_set_sregs2, KVM_SET_SREGS2, const struct kvm_sregs2)
KVM_IOCTL(kvm_get_cpuid2, KVM_GET_CPUID2, struct kvm_cpuid2)
KVM_IOCTL(kvm_get_device_attr, KVM_GET_DEVICE_ATTR, struct kvm_device_attr)
KVM_IOCTL(kvm_set_device_attr, KVM_SET_DEVICE_ATTR,
	  const struct kvm_device_attr)
KVM_IOCTL(kvm_get_clock, KVM_GET_CLOCK, struct kvm_clock_data)
KVM_IOCTL(kvm_set_clock, KVM_SET_CLOCK, const struct kvm_clock_data)
KVM_IOCTL(kvm_get_dirty_log, KVM_GET_DIRTY_LOG, struct kvm_dirty_log)

/* The counts of these two calls are what there was of one. */
static int of_one(int done)
{
	return done < 0 ? done : done == 1 ? 0 : -EIO;
}

int kvm_get_msr(int vcpu, uint32_t index, uint64_t *value)
{
	union kvm_msr_call m = { .head.nmsrs = 1 };
	int r;

	m.head.entries[0] = (struct kvm_msr_entry){ .index = index };
	r = of_one(kvm_get_msrs(vcpu, &m.head));
	*value = m.head.entries[0].data;
	return r;
}

int kvm_set_msr(int vcpu, uint32_t index, uint64_t value)
{
	union kvm_msr_call m = { .head.nmsrs = 1 };

	m.head.entries[0] =
	    (struct kvm_msr_entry){ .index = index, .data = value };
	return of_one(kvm_set_msrs(vcpu, &m.head));
}
