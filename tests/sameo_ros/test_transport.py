import pytest

from sameo_ros.transport import use_large_socket_buffers


@pytest.fixture
def kernel_limit(tmp_path):
    path = tmp_path / "rmem_max"
    path.write_text("4194304\n")
    return path


def test_large_buffers_are_chosen_where_the_kernel_allows_them(kernel_limit):
    environment = {}
    assert use_large_socket_buffers(environment, kernel_limit)
    assert environment == {"FASTDDS_BUILTIN_TRANSPORTS": "UDPv4?sockets_size=4000000B"}


@pytest.mark.parametrize(
    "name",
    [
        "FASTDDS_BUILTIN_TRANSPORTS",
        "FASTDDS_DEFAULT_PROFILES_FILE",
        "FASTRTPS_DEFAULT_PROFILES_FILE",
    ],
)
def test_the_users_choice_stands(name, kernel_limit):
    environment = {name: "mine"}
    assert not use_large_socket_buffers(environment, kernel_limit)
    assert environment == {name: "mine"}


def test_nothing_changes_where_the_kernel_does_not_allow_it(kernel_limit):
    environment = {}
    kernel_limit.write_text("212992\n")
    assert not use_large_socket_buffers(environment, kernel_limit)
    assert not use_large_socket_buffers(environment, kernel_limit.with_name("missing"))
    assert environment == {}
